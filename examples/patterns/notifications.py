"""One message goes out on four channels at once; one failure does not stop the others.

```mermaid
flowchart LR
    subgraph n0["notify"]
        n0_0["webhook"]
        n0_1["mail"]
        n0_2["chat"]
        n0_3["sms"]
    end
```

Every channel has its own attempts, limits and outcome. The webhook's first answer is lost here, so
the message is sent again with the same idempotency key: the receiver keeps it once.
``required`` is how many channels must deliver; with fewer the run fails.
"""

from collections.abc import Iterable
from typing import Any

from examples.inputs import many
from examples.patterns.world import World
from kaygraph import Graph
from kaygraph.nodes import SMS, ChatWebhook, Email, NotifyNode, Webhook

MESSAGE = {"text": "No backup since Monday.", "subject": "Backup", "data": {"host": "db1"}}


def build(world: World) -> Graph:
    notify = NotifyNode(
        Webhook(f"{world.url}/hook", name="webhook", wait=0.01),
        Email(
            "127.0.0.1",
            "Backup <backup@example.org>",
            name="mail",
            to=["ann@example.org", "ben@example.org"],
            port=world.smtp_port,
            tls="none",
        ),
        ChatWebhook(f"{world.url}/chat", name="chat"),
        SMS("AC1", "token", "+4790000000", name="sms", to="+4790000001", url=world.url),
        name="notify",
        required=3,
    )
    return Graph(notify)


async def run(world: World) -> Iterable[str]:
    before = world.calls["/hook"]
    shared: dict[str, Any] = {"message": MESSAGE}
    await build(world).run_async(shared)
    return [
        *(
            f"{one.name}: {one.status} after {many(one.attempts, 'attempt')}"
            for one in shared["deliveries"]
        ),
        f"the webhook received it {world.calls['/hook'] - before} times and kept it once",
    ]
