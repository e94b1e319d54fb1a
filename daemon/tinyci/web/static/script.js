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
    const seconds = (now() - Date.parse(each.dataset.since)) / 1000;
    if (seconds >= 0) each.textContent = took(seconds);
  }
}

function age() {
  for (const each of document.querySelectorAll("time[data-ago]")) {
    const seconds = (now() - Date.parse(each.dateTime)) / 1000;
    if (seconds >= 0) each.textContent = ago(seconds);
  }
}

function notice(text) {
  const element = document.getElementById("notice");
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}

// A stream of events that comes back whatever ends it: browsers give up when a server answers with an error.
function follow(url, handlers) {
  let source;
  let timer;
  const close = () => { clearTimeout(timer); source.close(); };
  const open = () => {
    source = new EventSource(url());
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data), close));
    }
    source.addEventListener("open", () => { clearTimeout(timer); timer = 0; notice(""); });
    source.addEventListener("trouble", (event) => notice(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      // A moment's break is nobody's concern.
      timer = timer || setTimeout(() => notice("The connection is lost; this goes on when it is back."), 3000);
      if (source.readyState === EventSource.CLOSED) setTimeout(open, later + Math.random() * later);
    });
  };
  open();
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) open(); });
}

// -- one job --------------------------------------------------------------------------------------------------------

function showState(job) {
  const badge = document.querySelector("#state [data-state]");
  if (badge.dataset.state !== job.state) {
    badge.dataset.state = job.state;
    badge.className = `state ${job.kind}`;
    badge.querySelector(".word").textContent = job.state;
    badge.querySelector(".sign").textContent = job.sign;
    document.title = `${job.title} · tinyci`;
  }
  const reason = document.getElementById("reason");
  reason.textContent = job.reason;
  reason.hidden = !job.reason;
  for (const [name, text] of Object.entries(job.facts)) {
    const fact = document.querySelector(`[data-fact="${name}"]`);
    const times = fact.querySelectorAll("time");
    const value = times[0] || fact.querySelector("dd");
    if (value.textContent !== text) value.textContent = text;
    for (const time of times) time.dateTime = job.times[name];
    fact.hidden = !text;
  }
  for (const stage of job.stages) {
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
  if (job.final) document.getElementById("no-output").textContent = "No output.";
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
  // Someone who looks at earlier lines stays there.
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
  let timer = 0;
  let isLoading = false;
  let again = false;
  const load = async () => {
    timer = 0;
    if (isLoading) { again = true; return; }
    isLoading = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.ok) {
        // The server's own page; nothing in it runs.
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.getElementById(list.id);
        const focus = document.activeElement.closest(`#${list.id} a`);
        if (fresh && fresh.textContent !== list.textContent) {
          list.replaceChildren(...fresh.childNodes);
          if (focus) {
            for (const link of list.querySelectorAll("a")) {
              if (link.getAttribute("href") === focus.getAttribute("href")) { link.focus(); break; }
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
  const soon = (within) => { timer = timer || setTimeout(load, 150 + Math.random() * within); };
  follow(() => list.dataset.events, { changed: (news) => soon(news.within) });
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
