"""A majority among several attempts, of which some fail."""

from collections import Counter

from pocketflow import BatchNode, Flow


class Vote(BatchNode):
    def prep(self, shared):
        return [(shared["question"], n) for n in range(5)]

    def exec(self, item):
        _question, number = item
        if number == 3:
            raise ValueError("no idea")
        return "yes" if number % 2 == 0 else "no"

    def exec_fallback(self, item, exc):
        return None

    def post(self, shared, items, votes):
        votes = [vote for vote in votes if vote is not None]
        winner, count = Counter(votes).most_common(1)[0]
        shared["answer"] = winner
        print(votes, winner, count)
        return "end"


print(Flow(start=Vote(max_retries=2, wait=0)).run({"question": "?"}))
