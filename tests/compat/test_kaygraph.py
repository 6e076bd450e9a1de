"""What KayGraph adds to PocketFlow's nodes: hooks, context, config, checks and figures."""

import logging
from typing import Any

import pytest

import kaygraph
from kaygraph.compat import (
    AsyncNode,
    BatchNode,
    Config,
    Flow,
    Graph,
    MetricsNode,
    Node,
    ValidatedNode,
)


class Hooked(Node):
    """Notes every hook in the order it is called."""

    fails_in = ""

    def note(self, shared: Any, hook: str) -> None:
        shared["hooks"].append(hook)
        if self.fails_in == hook:
            raise KeyError(hook)

    def before_prep(self, shared: Any) -> None:
        self.note(shared, "before_prep")

    def prep(self, shared: Any) -> Any:
        self.note(shared, "prep")
        return shared

    def exec(self, shared: Any) -> str:
        self.note(shared, "exec")
        return "result"

    def after_exec(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        assert (prep_res, exec_res) == (shared, "result")
        self.note(shared, "after_exec")

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        self.note(shared, "post")
        return "end"

    def on_error(self, shared: Any, error: Exception) -> bool:
        shared["error"] = error
        return bool(shared.get("suppress"))


HOOKS = ["before_prep", "prep", "exec", "after_exec", "post"]


def test_hooks_are_called_in_order() -> None:
    """before_prep, prep, exec, after_exec, post; on_error only after a failure."""
    shared: dict[str, Any] = {"hooks": []}
    assert Graph(Hooked()).run(shared) == "end"
    assert shared["hooks"] == HOOKS
    assert "error" not in shared


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("suppress", [False, True])
def test_on_error_sees_every_failure_and_may_suppress_it(hook: str, suppress: bool) -> None:
    """True lets the graph continue along "default"; anything else raises."""

    class After(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["after"] = True

    node = Hooked()
    node.fails_in = hook
    node >> After()
    shared: dict[str, Any] = {"hooks": [], "suppress": suppress}
    if suppress:
        Graph(node).run(shared)
    else:
        with pytest.raises(KeyError, match=hook):
            Graph(node).run(shared)
    assert str(shared["error"]) == f"'{hook}'"
    assert ("after" in shared) == suppress


def test_on_error_of_a_mixin_and_of_a_batch_are_hooks_too() -> None:
    """The setting of that name keeps its value, and can still be given."""

    class Mixin:
        def on_error(self, shared: Any, error: Exception) -> bool:
            shared["error"] = error
            return True

    class Breaks(Mixin, BatchNode):
        def prep(self, shared: Any) -> Any:
            return [1, 0]

        def exec(self, item: int) -> float:
            return 1 / item

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["results"] = exec_res

    class Below(Breaks):
        pass

    for kind in (Breaks, Below):
        shared: dict[str, Any] = {}
        kind().run(shared)
        assert isinstance(shared["error"], ZeroDivisionError)
        kind(on_error="skip").run(shared)
        assert shared["results"] == [1.0]


@pytest.mark.anyio
async def test_hooks_may_be_async() -> None:
    """Each may be written `async def`."""

    class Async(AsyncNode):
        async def before_prep(self, shared: Any) -> None:
            shared["before"] = True

        async def exec_async(self, prep_res: Any) -> None:
            raise ValueError("no")

        async def on_error(self, shared: Any, error: Exception) -> bool:
            shared["error"] = str(error)
            return True

    shared: dict[str, Any] = {}
    await Async().run_async(shared)
    assert shared == {"before": True, "error": "no"}


def test_context_lasts_for_one_run_of_the_node() -> None:
    """It begins with the start time, has the duration after exec, and is gone with the run."""

    class Notes(Node):
        def prep(self, shared: Any) -> None:
            shared["left over"] = self.get_context("mine", "nothing")
            self.set_context("mine", "noted")

        def after_exec(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["mine"] = self.get_context("mine")
            shared["duration"] = self._execution_context["duration"]
            shared["start"] = self.get_context("start_time")

    node, shared = Notes(), dict[str, Any]()
    for run in (Graph(node).run, node.run, node.run):
        run(shared)
        assert (shared["mine"], shared["left over"]) == ("noted", "nothing")
        assert 0 <= shared["duration"] < 60 < shared["start"]


def test_with_block_sets_up_and_cleans_up(caplog: pytest.LogCaptureFixture) -> None:
    """Of a node and of a graph, also when the block fails; the logger is the class's."""

    class Held(Graph):
        def setup_resources(self) -> None:
            self.held = True

        def cleanup_resources(self) -> None:
            self.held = False

    class Logs(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            self.logger.info("in %s", self.node_id)

    graph = Held(Logs("here"))
    with caplog.at_level(logging.INFO), graph as entered:
        assert entered is graph
        assert graph.held
        graph.run({})
    assert not graph.held
    with pytest.raises(KeyError), graph:
        raise KeyError
    assert not graph.held
    assert caplog.record_tuples == [("Logs", logging.INFO, "in here")]


# --- Config --------------------------------------------------------------------------------


def test_config_reads_like_a_mapping_and_hides_its_values() -> None:
    """get with a default, to_dict as a copy; what may be secret is not in its repr."""
    config = Config(model="small", api_key="secret")
    assert config.get("model") == "small"
    assert config.get("temperature", 0.7) == 0.7
    config.to_dict()["model"] = "large"
    assert config["model"] == "small"
    assert Config(**{**config, "model": "large"})["model"] == "large"
    assert repr(config) == "Config(model, api_key)"


class Model(Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared.setdefault("models", []).append(self.config.get("model", "none"))


def test_config_of_a_graph_reaches_its_nodes() -> None:
    """A node's own takes precedence, then an inner graph's, then the outer one's."""
    first = Model()
    inner = Graph(Model(), config=Config(model="inner"))
    first >> Model(config=Config(model="own")) >> Graph(Model()) >> inner
    shared: dict[str, Any] = {}
    Graph(first, config=Config(model="outer")).run(shared)
    assert shared["models"] == ["outer", "own", "outer", "inner"]
    shared.clear()
    Graph(first).run(shared)
    first.config = Config(model="alone")
    kaygraph.Graph(first).run(shared)
    assert shared["models"] == ["none", "own", "none", "inner", "alone", "own", "none", "inner"]


# --- checks and figures --------------------------------------------------------------------


class Checked(ValidatedNode):
    def validate_input(self, prep_res: Any) -> Any:
        if prep_res is None:
            raise ValueError("no text")
        return prep_res.strip()

    def validate_output(self, exec_res: Any) -> Any:
        return len(exec_res) > 2

    def prep(self, shared: Any) -> Any:
        return shared["text"]

    def exec(self, text: str) -> str:
        return text.upper()

    def after_exec(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["after"] = exec_res

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        return str(exec_res)


def test_checked_values_go_on() -> None:
    """The value of a check is used; True keeps the value itself."""
    shared = {"text": "  word "}
    assert Graph(Checked()).run(shared) == "WORD"
    assert shared["after"] == "WORD"


@pytest.mark.parametrize(("text", "message"), [(None, "no text"), ("a", "validate_output of 'Che")])
def test_refused_values_raise(text: Any, message: str) -> None:
    """A check raises its own error, or returns False."""
    with pytest.raises(ValueError, match=message):
        Graph(Checked()).run({"text": text})


def test_check_of_a_boolean_may_return_it() -> None:
    """A value that is returned as it came is accepted, False too."""

    class Flag(ValidatedNode):
        def exec(self, prep_res: Any) -> bool:
            return False

        def validate_output(self, exec_res: bool) -> bool:
            assert isinstance(exec_res, bool)
            return exec_res

        def post(self, shared: Any, prep_res: Any, exec_res: bool) -> str:
            return repr(exec_res)

    assert Flag().run({}) == "False"


class Measured(MetricsNode):
    def prep(self, shared: Any) -> Any:
        return shared["fails"]

    def exec(self, fails: int) -> None:
        if self.cur_retry < fails:
            raise ValueError("no")


def test_figures_of_all_runs_are_kept() -> None:
    """In a graph too, where copies run: runs, failures, retries and seconds."""
    node = Measured(max_retries=3)
    assert node.get_stats()["success_rate"] == node.get_stats()["avg_time"] == 0
    graph = Graph(node)
    for fails in (0, 1, 2):
        graph.run({"fails": fails})
    with pytest.raises(ValueError, match="no"):
        node.run({"fails": 3})
    stats = node.get_stats()
    assert stats["total_executions"] == stats["total_count"] == 4
    assert (stats["success_rate"], stats["error_rate"], stats["error_count"]) == (0.75, 0.25, 1)
    assert stats["total_retries"] == 0 + 1 + 2 + 2
    assert 0 < stats["min_time"] <= stats["avg_execution_time"] <= stats["max_execution_time"]
    assert stats["total_time"] == pytest.approx(4 * stats["avg_time"])


def test_checks_and_figures_combine() -> None:
    """KayGraph's documentation initialises both, one after the other."""

    class Both(ValidatedNode, MetricsNode):
        def __init__(self) -> None:
            ValidatedNode.__init__(self, max_retries=2, wait=0, node_id="both")
            MetricsNode.__init__(self, collect_metrics=True)

        def validate_output(self, exec_res: Any) -> Any:
            return "checked"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            return str(exec_res)

    node = Both()
    assert Flow(start=node).run({}) == "checked"
    assert (node.node_id, node.max_retries, node.get_stats()["total_count"]) == ("both", 2, 1)
    assert MetricsNode(collect_metrics=False).get_stats()["total_count"] == 0
