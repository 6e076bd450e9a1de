"""Parallel batches and flows: all at once, and results in order."""

import asyncio

from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchFlow, AsyncParallelBatchNode


class Translate(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        self.waiting = asyncio.Event()
        self.begun = 0
        return shared["languages"]

    async def exec_async(self, language):
        self.begun += 1
        if self.begun == 3:
            self.waiting.set()
        await self.waiting.wait()  # ends only if all run at once
        return language.upper()

    async def post_async(self, shared, languages, results):
        print(dict(zip(languages, results, strict=False)))
        return "default"


class Filter(AsyncNode):
    async def prep_async(self, shared):
        return self.params["image"]

    async def exec_async(self, image):
        await asyncio.sleep(0.01 if image == "a" else 0)
        return f"{image}.grey"

    async def post_async(self, shared, image, result):
        shared[image] = result


class Images(AsyncParallelBatchFlow):
    async def prep_async(self, shared):
        return [{"image": name} for name in "abc"]

    async def post_async(self, shared, params, results):
        print(len(params), [shared[name] for name in "abc"])
        return "done"


async def main():
    shared = {"languages": ["de", "fr", "zh"]}
    await AsyncFlow(start=Translate()).run_async(shared)
    print(await Images(start=Filter()).run_async(shared))


asyncio.run(main())
