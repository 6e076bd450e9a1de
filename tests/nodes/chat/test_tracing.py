"""OpenTelemetry's spans of requests to a language model: the gen_ai conventions."""

from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.trace import SpanKind, StatusCode

from kaygraph import Graph
from kaygraph.nodes import Bearer, ChatNode, ChatRefusedError, HTTPStatusError, ParallelChatNode
from tests.chat_server import Answer, ChatServer, Fails, Says
from tests.nodes.chat.test_chat import AGAIN, PERSON, QUICK
from tests.observability.traces import Traces, attributes_of

pytestmark = pytest.mark.anyio


async def traced(
    *answers: Answer, prompt: Any = "Hello", kind: Any = ChatNode, **settings: Any
) -> tuple[Traces, ChatServer]:
    traces = Traces()
    async with ChatServer(*answers) as server:
        arguments = {"name": "Ask", "retry": QUICK, "reads": "prompt", **settings}
        graph = Graph(kind(server.url, "tiny", **arguments))
        await graph.run_async({"prompt": prompt}, observers=[traces.observer()])
    return traces, server


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_request_has_a_span_of_the_conventions(streaming: bool) -> None:
    """The request, its cost and its end; none of its content."""
    traces, server = await traced(
        Says("Hello to you"),
        streaming=streaming,
        temperature=0.5,
        max_tokens=20,
        options={"top_p": 0.9, "stop": "END", "seed": 7},
    )
    assert traces.lines() == ["run Graph", "  node Ask", "    item Ask", "      chat tiny"]
    span = traces.one("chat tiny")
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    host, _, port = server.url.removeprefix("http://").partition("/")[0].partition(":")
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.output.type": "text",
        "gen_ai.request.model": "tiny",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 20,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.model": "tiny",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 3,
        "server.address": host,
        "server.port": int(port),
    }
    if streaming:
        expected["gen_ai.request.stream"] = True
    assert attributes_of(span) == expected
    assert "Hello" not in "".join(one.to_json() for one in traces.spans)


async def test_each_attempt_has_a_span() -> None:
    """One that was refused has the status of its error."""
    traces, _ = await traced(AGAIN, Says("ok"))
    refused, answered = traces.named("chat tiny")
    assert refused.status.status_code is StatusCode.ERROR
    assert attributes_of(refused)["error.type"] == "HTTPStatusError"
    assert attributes_of(answered)["gen_ai.usage.output_tokens"] == 3
    assert refused.parent == answered.parent


async def test_an_answer_that_does_not_fit_has_cost_what_it_has_cost() -> None:
    """The request has worked; the item's attempt has not."""
    traces, _ = await traced(Says("{}"), Says('{"name": "Ann", "age": 3}'), schema=PERSON)
    first, second = traces.named("chat tiny")
    for span in (first, second):
        assert attributes_of(span)["gen_ai.usage.input_tokens"] == 9
        assert attributes_of(span)["gen_ai.output.type"] == "json"
        assert span.status.status_code is StatusCode.UNSET
    assert [event.name for event in traces.one("item Ask").events] == ["kaygraph.retry"]


async def test_many_at_once_are_each_within_their_item() -> None:
    """Parents are those of the items that asked."""
    traces, _ = await traced(Says("ok"), prompt=["a", "b", "c"], kind=ParallelChatNode)
    parents = {span.parent.span_id for span in traces.named("chat tiny") if span.parent}
    items = {span.context.span_id for span in traces.named("item Ask") if span.context}
    assert parents == items
    assert len(items) == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Fails(401, "no such key: sk-5ecret-0123456789"), HTTPStatusError),
        (Says(None, refusal="no"), ChatRefusedError),
    ],
)
async def test_a_refusal_is_reported_without_secrets(
    answer: Answer, error: type[Exception]
) -> None:
    """Neither the span nor those around it show the key."""
    traces = Traces()
    async with ChatServer(answer) as server:
        node = ChatNode(server.url, "tiny", auth=Bearer("sk-5ecret-0123456789"), reads="prompt")
        with pytest.raises(error):
            await node.run_async({"prompt": "Hello"}, observers=[traces.observer()])
    assert traces.one("chat tiny").status.status_code is StatusCode.ERROR
    assert "5ecret" not in "".join(one.to_json() for one in traces.spans)


async def test_what_requests_took_and_cost_is_measured() -> None:
    """By the model, and by what they have failed with."""
    traces, server = await traced(AGAIN, Says("ok"))
    host, _, port = server.url.removeprefix("http://").partition("/")[0].partition(":")
    asked = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "tiny",
        "server.address": host,
        "server.port": int(port),
    }
    answered = {**asked, "gen_ai.response.model": "tiny"}
    points = histograms_of(traces)
    assert [labels for labels, _, _ in points["gen_ai.client.operation.duration"]] == [
        {**asked, "error.type": "HTTPStatusError"},
        answered,
    ]
    assert points["gen_ai.client.token.usage"] == [
        ({**answered, "gen_ai.token.type": "input"}, 1, 9),
        ({**answered, "gen_ai.token.type": "output"}, 1, 3),
    ]


def histograms_of(traces: Traces) -> dict[str, list[tuple[dict[str, Any], int, float]]]:
    data = traces.reader.get_metrics_data()
    assert data is not None
    (resource,) = data.resource_metrics
    (scope,) = resource.scope_metrics
    return {
        metric.name: [
            (dict(point.attributes or {}), point.count, point.sum)
            for point in metric.data.data_points
            if isinstance(point, HistogramDataPoint)
        ]
        for metric in scope.metrics
    }
