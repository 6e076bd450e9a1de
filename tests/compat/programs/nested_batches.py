"""Batch flows within each other: school, class, student; params are laid over each other."""

from pocketflow import BatchFlow, Flow, Node

GRADES = {("5a", "ann"): [1, 2], ("5a", "bob"): [3], ("6b", "cleo"): [2, 2, 5]}


class Load(Node):
    def prep(self, shared):
        return GRADES[self.params["class"], self.params["student"]]

    def exec(self, grades):
        return sum(grades) / len(grades)

    def post(self, shared, prep_res, mean):
        shared.setdefault("means", {})[self.params["student"]] = mean
        print(self.params["class"], self.params["student"], round(mean, 2))


class Students(BatchFlow):
    def prep(self, shared):
        return [{"student": s} for c, s in GRADES if c == self.params["class"]]

    def post(self, shared, students, results):
        print("class", self.params["class"], "has", len(students), results)


class Classes(BatchFlow):
    def prep(self, shared):
        return [{"class": "5a"}, {"class": "6b"}]


class Sum(Node):
    def prep(self, shared):
        return shared["means"]

    def exec(self, means):
        return len(means)

    def post(self, shared, prep_res, number):
        print(number, "students")


classes = Classes(start=Students(start=Load()))
classes >> Sum()
Flow(start=classes).run({})
