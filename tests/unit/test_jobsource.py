"""Jobs as strangers read them."""

import asyncio

from tinyci.api.jobsource import JobSource
from tinyci.api.longpoll import AT_ONCE


async def test_however_many_ask_for_jobs_redis_is_asked_few_questions_at_once() -> None:
    class Store:
        open = most = 0

        async def job(self, job_id: str) -> dict[str, str]:
            self.open += 1
            self.most = max(self.most, self.open)
            await asyncio.sleep(0)
            self.open -= 1
            return {"state": "queued"}

    store = Store()
    source = JobSource(store)  # type: ignore[arg-type]
    answers = await asyncio.gather(*(source.job(str(number)) for number in range(2000)))
    assert len(answers) == 2000
    assert store.most == AT_ONCE
