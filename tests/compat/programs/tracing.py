"""A drawing and a trace, made from the successors of nodes."""

from pocketflow import BatchNode, Flow, Node


class Load(Node):
    pass


class Check(Node):
    def post(self, shared, prep_res, exec_res):
        shared["checks"] = shared.get("checks", 0) + 1
        return "again" if shared["checks"] < 3 else "good"


class Store(BatchNode):
    def prep(self, shared):
        return range(shared["checks"])

    def exec(self, number):
        return number

    def post(self, shared, numbers, results):
        print("stored", results)


def draw(start):
    names, lines, todo = {}, [], [start]

    def name(node):
        return names.setdefault(id(node), f"{type(node).__name__}{len(names)}")

    seen = set()
    while todo:
        node = todo.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Flow):
            lines.append(f"flow {name(node)} begins at {name(node.start_node)}")
            todo.append(node.start_node)
        for action, successor in node.successors.items():
            lines.append(f"{name(node)} -{action}-> {name(successor)}")
            todo.append(successor)
    return lines


load, check, store = Load(), Check(), Store()
load >> check
check - "again" >> load
check - "good" >> store
inner = Flow(start=load)
outer = Flow(start=inner)
print("\n".join(draw(outer)))

outer.run({})
