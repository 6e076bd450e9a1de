"""An asynchronous flow: it proposes, waits for an answer, and goes on or back."""

import asyncio

from pocketflow import AsyncFlow, AsyncNode, Node


class Ask(AsyncNode):
    async def prep_async(self, shared):
        await asyncio.sleep(0)
        return shared["ingredient"]

    async def exec_async(self, ingredient):
        return [f"{ingredient} soup", f"{ingredient} pie"]

    async def post_async(self, shared, prep_res, recipes):
        shared["recipes"] = recipes
        return "suggest"


class Suggest(Node):
    def prep(self, shared):
        return shared["recipes"].pop()

    def exec(self, recipe):
        return recipe.upper()

    def post(self, shared, recipe, shouted):
        shared["suggestion"] = shouted
        return "approve"


class Approve(AsyncNode):
    async def prep_async(self, shared):
        return shared["suggestion"]

    async def exec_async(self, suggestion):
        await asyncio.sleep(0)
        return "SOUP" in suggestion

    async def post_async(self, shared, suggestion, accepted):
        print(suggestion, "yes" if accepted else "no")
        return "accept" if accepted else "retry"


class End(Node):
    def post(self, shared, prep_res, exec_res):
        print("bon appetit")


ask, suggest, approve = Ask(), Suggest(), Approve()
ask - "suggest" >> suggest
suggest - "approve" >> approve
approve - "retry" >> suggest
approve - "accept" >> End()
print(asyncio.run(AsyncFlow(start=ask).run_async({"ingredient": "leek"})))
