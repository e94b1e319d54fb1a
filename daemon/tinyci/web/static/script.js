// Follows what the page shows. Without this script the page is the same, as it was when it was loaded.
"use strict";

const skew = Date.parse(document.body.dataset.now) - Date.now();
const now = () => Date.now() + skew;
const later = 2000;
const mostLines = 20000;

function took(seconds) {
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function ago(seconds) {
  for (const [size, name] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
    const count = Math.floor(seconds / size);
    if (count > 0) return `${count} ${name}${count > 1 ? "s" : ""} ago`;
  }
  return seconds < 10 ? "just now" : `${Math.floor(seconds)} seconds ago`;
}

function tick() {
  for (const each of document.querySelectorAll("[data-since]")) {
    const passed = (now() - Date.parse(each.dataset.since)) / 1000;
    if (passed >= 0) each.textContent = took(passed);
  }
}

function age() {
  for (const each of document.querySelectorAll("time[data-ago]")) {
    const passed = (now() - Date.parse(each.dateTime)) / 1000;
    if (passed >= 0) each.textContent = ago(passed);
  }
}

function notice(text) {
  const shown = document.getElementById("notice");
  if (shown.textContent !== text) shown.textContent = text;
  shown.hidden = !text;
}

// A stream of events that comes back whatever ends it: browsers give up when a server answers with an error.
function follow(url, handlers) {
  let source;
  let lost;
  const close = () => { clearTimeout(lost); source.close(); };
  const open = () => {
    source = new EventSource(url());
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data), close));
    }
    source.addEventListener("open", () => { clearTimeout(lost); lost = 0; notice(""); });
    source.addEventListener("trouble", (event) => notice(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      // A moment's break is nobody's concern.
      lost = lost || setTimeout(() => notice("The connection is lost; this goes on when it is back."), 3000);
      if (source.readyState === EventSource.CLOSED) setTimeout(open, later + Math.random() * later);
    });
  };
  open();
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) open(); });
}

// -- one job --------------------------------------------------------------------------------------------------------

function showState(told) {
  const state = document.querySelector("#state [data-state]");
  if (state.dataset.state !== told.state) {
    state.dataset.state = told.state;
    state.className = `state ${told.kind}`;
    state.querySelector(".word").textContent = told.state;
    state.querySelector(".sign").textContent = told.sign;
    document.title = `${told.title} · tinyci`;
  }
  const reason = document.getElementById("reason");
  reason.textContent = told.reason;
  reason.hidden = !told.reason;
  for (const [name, text] of Object.entries(told.facts)) {
    const fact = document.querySelector(`[data-fact="${name}"]`);
    const times = fact.querySelectorAll("time");
    const value = times[0] || fact.querySelector("dd");
    if (value.textContent !== text) value.textContent = text;
    for (const time of times) time.dateTime = told.times[name];
    fact.hidden = !text;
  }
  for (const stage of told.stages) {
    const item = document.querySelector(`[data-stage="${stage.name}"]`);
    const length = item.querySelector(".took");
    item.className = stage.status;
    item.querySelector(".status").textContent = stage.status;
    item.hidden = stage.name === "rollback" && stage.status === "skipped";
    if (stage.since) {
      length.dataset.since = stage.since;
    } else {
      delete length.dataset.since;
      length.textContent = stage.took;
    }
  }
  if (told.final) document.getElementById("no-output").textContent = "No output.";
  tick();
  age();
}

function lineOf(number, spans) {
  const item = document.createElement("li");
  item.id = `L${number}`;
  item.value = number;
  for (const [classes, text] of spans) {
    if (classes) {
      const span = document.createElement("span");
      span.className = classes;
      span.textContent = text;
      item.append(span);
    } else {
      item.append(text);
    }
  }
  return item;
}

function followJob(job) {
  const box = document.getElementById("log");
  const output = document.getElementById("output");
  let last = Number(job.dataset.last);
  // Who looks at something else is not taken away from it.
  let isAtEnd = true;
  const bottom = () => { box.scrollTop = box.scrollHeight; };
  box.addEventListener("scroll", () => { isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40; });
  follow(() => `${job.dataset.events}?after=${last}`, {
    lines: (lines) => {
      const fresh = document.createDocumentFragment();
      for (const [number, spans] of lines) {
        if (number > last) {
          fresh.append(lineOf(number, spans));
          last = number;
        }
      }
      output.append(fresh);
      box.hidden = false;
      document.getElementById("no-output").hidden = true;
      if (isAtEnd) {
        while (output.childElementCount > mostLines) output.firstElementChild.remove();
        bottom();
      }
    },
    state: showState,
    end: (_, close) => { job.dataset.ended = "yes"; close(); },
  });
}

// -- lists ----------------------------------------------------------------------------------------------------------

function followList(list) {
  let waiting = 0;
  let isLoading = false;
  let again = false;
  const load = async () => {
    waiting = 0;
    if (isLoading) { again = true; return; }
    isLoading = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.ok) {
        // The server's own page; nothing in it runs.
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.getElementById(list.id);
        const focused = document.activeElement.closest(`#${list.id} a`);
        if (fresh && fresh.textContent !== list.textContent) {
          list.replaceChildren(...fresh.childNodes);
          if (focused) {
            for (const link of list.querySelectorAll("a")) {
              if (link.getAttribute("href") === focused.getAttribute("href")) { link.focus(); break; }
            }
          }
        }
      }
    } catch {
      // The stream says what is wrong.
    }
    isLoading = false;
    if (again) { again = false; soon(later); }
  };
  const soon = (within) => { waiting = waiting || setTimeout(load, 150 + Math.random() * within); };
  follow(() => list.dataset.events, { changed: (told) => soon(told.within) });
}

const job = document.getElementById("job");
if (job && !location.hash && !location.search) {
  const box = document.getElementById("log");
  box.scrollTop = box.scrollHeight;
}
if (job && job.dataset.follow) followJob(job);
for (const list of document.querySelectorAll("[data-list][data-follow=yes]")) followList(list);
setInterval(tick, 1000);
setInterval(age, 20000);
tick();
