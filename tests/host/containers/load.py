"""A constant load of requests, run on the test host: python3 load.py HOST PORT, until stdin ends.

Prints `OK FAILED SLOWEST` at the end: requests that were answered, requests that were not, seconds of the slowest.
A few at a time, one after another, each over a connection of its own as a browser's first one is.
"""

import http.client
import sys
import threading
import time

AT_ONCE = 4
PATIENCE = 30.0

times: list[float] = []
errors: list[str] = []
stop = threading.Event()


def ask(host: str, port: int) -> None:
    while not stop.is_set():
        start = time.monotonic()
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            if answer.status != 200 or not answer.read():
                raise http.client.HTTPException(f"status {answer.status}")
            times.append(time.monotonic() - start)
        except (OSError, http.client.HTTPException) as error:
            errors.append(repr(error))
        finally:
            connection.close()
        stop.wait(0.02)


def main() -> None:
    threads = [threading.Thread(target=ask, args=(sys.argv[1], int(sys.argv[2]))) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    print("begun", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(len(times), len(errors), f"{max(times, default=0):.3f}")
    for error in sorted(set(errors)):
        print(errors.count(error), error, file=sys.stderr)


if __name__ == "__main__":
    main()
