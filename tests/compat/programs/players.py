"""Two agents that speak through queues, each a flow of its own that loops."""

import asyncio
import warnings

from pocketflow import AsyncFlow, AsyncNode

WORDS = ["cold", "white", "falls in winter"]


class Hinter(AsyncNode):
    async def prep_async(self, shared):
        guess = await shared["hinter"].get()
        if guess == "GAME OVER":
            return None
        return shared["guesses"]

    async def exec_async(self, guesses):
        return None if guesses is None else WORDS[len(guesses)]

    async def post_async(self, shared, prep_res, hint):
        if hint is None:
            return "end"
        print("hint:", hint)
        await shared["guesser"].put(hint)
        return "continue"


class Guesser(AsyncNode):
    async def prep_async(self, shared):
        return await shared["guesser"].get(), list(shared["guesses"])

    async def exec_async(self, inputs):
        hint, _guesses = inputs
        return {"cold": "ice", "white": "milk"}.get(hint, "snow")

    async def post_async(self, shared, prep_res, guess):
        print("guess:", guess)
        if guess == "snow":
            await shared["hinter"].put("GAME OVER")
            return "end"
        shared["guesses"].append(guess)
        await shared["hinter"].put(guess)
        return "continue"


async def main():
    shared = {"hinter": asyncio.Queue(), "guesser": asyncio.Queue(), "guesses": []}
    await shared["hinter"].put("")
    hinter, guesser = Hinter(), Guesser()
    hinter - "continue" >> hinter
    guesser - "continue" >> guesser
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flows = [AsyncFlow(start=node).run_async(shared) for node in (hinter, guesser)]
        await asyncio.gather(*flows)
    print(shared["guesses"])


asyncio.run(main())
