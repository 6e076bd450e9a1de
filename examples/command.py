"""The command line as jobs: an example, all of them, or a free text."""

import glob
import io
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from examples.inputs import (
    InputError,
    Records,
    parse_records,
    piped_text,
    read_records,
    read_stream,
)
from examples.planner import chooser
from examples.prompt import HelpAsked, Request, understand
from examples.runner import TAKEN_BY, Job, Runner, check_options, make_job, output_to
from examples.screen import Terminal
from examples.workflow import FILE_READERS, MAX_WORKERS, NAMES, PATTERNS, Options, load
from kaygraph import Watch

BUNDLED = {
    "validation": "the bundled sample",
    "enrichment": "the bundled sample",
    "batch": "this Python's standard library",
    "mapreduce": "this Python's standard library",
    "pipeline": "the service's records",
}


HELP = (
    "Say what to do, and with which data, in plain words:",
    "  validate people.csv                          check records",
    "  enrich mira@example.com                      gather what is known about people",
    "  are the records in people.csv ok?            questions work as well",
    '  {"email": "mira@example.com"}                data alone is validated and enriched',
    "  hash the files in src                        batch: hash and measure files",
    "  count the words in notes.txt                 map-reduce",
    "  stream 500 records                           pipeline: through five stages into SQLite",
    "  validate people.csv, then enrich it and save to out.jsonl",
    "Options and examples: python main.py --help",
)


class Command:
    """One invocation of the command. ``run`` returns the exit code.

    Raises:
        InputError: From ``run``: the command was wrong; nothing has run.
        KeyboardInterrupt: From ``run``: see ``Runner.run``.
    """

    def __init__(self, arguments: Namespace) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a lone surrogate must not end a run
                stream.reconfigure(errors="backslashreplace")
        self.arguments = arguments
        self.screen = Terminal(json=arguments.json)
        self.options = Options(
            workers=arguments.workers,
            limit=arguments.limit,
            output=arguments.output,
            journal=arguments.journal,
            seed=arguments.seed,
            services=arguments.services,
            run_in=arguments.run_in,
            mapper=arguments.mapper,
            reducer=arguments.reducer,
            verbose=arguments.verbose,
        )

    def run(self) -> int:
        """Do what was requested: return 0, or 1 if a run failed."""
        if self.arguments.interactive:
            return self._interactive()
        if self.arguments.example:
            jobs = self._examples(self.arguments.example)
        elif self.arguments.text:
            try:
                jobs = [self._free_text(" ".join(self.arguments.text))]
            except HelpAsked:
                self.screen.print(*HELP)
                return 0
        else:
            raise InputError("nothing to do: type --example NAME, a text, or --interactive")
        worked = True
        with self._page() as page, output_to(self.options.output, self.screen) as output:
            runner = Runner(
                self.screen, verbose=self.options.verbose, output=output,
                journal=self.options.journal, progress=self.arguments.progress, page=page,
            )  # fmt: skip
            for job in jobs:
                if len(jobs) > 1:
                    self.screen.print("", f"── {job.name}: {job.workflows[0].summary}")
                worked = runner.run(job) and worked  # one that fails does not stop the next
            if page is not None and self.screen.can_draw and sys.stdin.isatty():
                self.screen.tell(f"{page.address} stays open until Ctrl-C")
                page.wait()
        return 0 if worked else 1

    def _interactive(self) -> int:
        from examples.shell import Shell  # prompt-toolkit loads where it is used

        for option in ("input", "output", "journal"):
            if getattr(self.arguments, option) is not None:
                raise InputError(f"--{option} goes with --example or a text, not --interactive")
        with self._page() as page:
            runner = Runner(self.screen, verbose=self.options.verbose, page=page)
            return Shell(runner, self.options).run()

    @contextmanager
    def _page(self) -> Iterator[Watch | None]:
        """Open the page that shows the runs, if requested, for the block.

        Raises:
            InputError: Its port is taken.
        """
        port = self.arguments.watch
        with ExitStack() as stack:
            try:
                page = None if port is None else stack.enter_context(Watch(port))
            except OSError as error:
                raise InputError(f"--watch: port {port} cannot be used: {error.strerror}") from None
            yield page

    def _examples(self, names: Sequence[str]) -> list[Job]:
        options = self.options
        if set(names) <= set(PATTERNS):
            options, names = replace(options, patterns=tuple(names)), ["patterns"]
        check_options(options, names)
        if self.arguments.input is not None and list(names) == ["patterns"]:
            raise InputError("--input goes with the five examples, not with patterns")
        if self.arguments.input is not None:
            refuse_to_overwrite(options.output, [self.arguments.input])
            takers = self._takers(names)
            if takers != names:
                self.screen.tell(f"--input {self.arguments.input} goes to {', '.join(takers)} only")
            options = with_input(options, takers, self.arguments.input)
        # All of them first: wrong options are reported before any work is done.
        return [make_job([load(name)], options, named=len(names) > 1) for name in names]

    def _takers(self, names: Sequence[str]) -> Sequence[str]:
        """Return the ones of all five examples that ``--input`` applies to."""
        if len(names) < len(NAMES):
            return names
        name = self.arguments.input
        files = Path(name).is_dir() or (glob.has_magic(name) and not Path(name).exists())
        return [name for name in names if (name in FILE_READERS) == files]

    def _free_text(self, text: str) -> Job:
        request = understand(text, chooser(self.screen.tell))
        self.options = with_output(self.options, request)
        check_options(self.options, request.workflows)
        options, source = self.options, None
        if self.arguments.input is not None:
            if request.found.what:
                raise InputError("the text contains data and --input names more: use one of them")
            source = self.arguments.input
            refuse_to_overwrite(options.output, [source])
            options = with_input(options, request.workflows, source)
        elif not request.found.what and set(request.workflows) != {"batch"}:
            piped = piped_text(sys.stdin.buffer if sys.stdin else None, self.screen.tell)
            if piped.strip():
                source = "standard input"
                options = with_text(options, request.workflows, piped)
        job, line = make_requested(request, options, source)
        self.screen.print(line)
        return job


def with_output(options: Options, request: Request) -> Options:
    """Return the options with the output file that a free text names.

    Raises:
        InputError: ``--output`` names a different one.
    """
    named = request.found.output
    if named is None:
        return options
    if options.output is not None and options.output != Path(named):
        raise InputError(f"the text names {named}, and --output {options.output}: use one of them")
    return replace(options, output=Path(named).expanduser())


def with_input(options: Options, names: Sequence[str], name: str) -> Options:
    """Return the options with the data that ``--input`` names: records, files, or both.

    Raises:
        InputError: There is no such file, or it is malformed.
    """
    if name == "-":
        if set(names) == {"batch"}:
            raise InputError("batch works on files: name a file, a directory or a glob")
        return with_text(options, names, read_stream(sys.stdin.buffer))
    if not FILE_READERS.isdisjoint(names):
        options = replace(options, paths=name)
    if not FILE_READERS.issuperset(names):
        options = replace(options, records=read_records(name))
    return options


def with_text(options: Options, names: Sequence[str], text: str) -> Options:
    """Return the options with text as data: words for mapreduce, records for the others."""
    if "mapreduce" in names:
        options = replace(options, text=text)
    if not FILE_READERS.issuperset(names):
        options = replace(options, records=parse_records(text))
    return options


def make_requested(
    request: Request, options: Options, source: str | None = None
) -> tuple[Job, str]:
    """Return the job that a free text asks for, and a line that says how it was understood.

    ``source`` names data that the options already contain.

    Raises:
        InputError: The request cannot be carried out.
    """
    names, found, notes = request.workflows, request.found, list(request.notes)
    refuse_to_overwrite(options.output, found.files)
    if (request.workers or 1) > MAX_WORKERS:
        raise InputError(f"at most {MAX_WORKERS:,} workers, got {request.workers:,}")
    if request.workers is not None and options.workers is None:
        options = replace(options, workers=request.workers)
        notes.append(f"{request.workers} workers")
    if request.limit is not None and options.limit is None:
        if set(names) & set(TAKEN_BY["limit"]):
            options = replace(options, limit=request.limit)
            notes.append(f"at most {request.limit:,}")
        else:
            notes.append(f"not used: the number {request.limit:,}")
    used: list[str] = []
    if not FILE_READERS.issuperset(names) and (found.records or found.files):
        records = Records(found.records or ())
        for name in found.files:
            records = records + read_records(name)
        options = replace(options, records=records)
        used += found.what
    if not FILE_READERS.isdisjoint(names) and found.files:
        if len(found.files) > 1:
            raise InputError("one file, directory or glob at a time, for batch and mapreduce")
        options = replace(options, paths=found.files[0])
        used += found.files
    if found.text is not None:
        if "mapreduce" in names:
            options = replace(options, text=found.text)
            used.append("the words in quotes")
        else:
            notes.append(f"not used: {found.text!r}")
    notes += [f"not used: {what}" for what in found.what if what not in used]
    where = [*dict.fromkeys(used)] or [source or ""]
    if where == [""]:
        _refuse_guess(request)
        where = [*dict.fromkeys(BUNDLED[name] for name in names)]
    job = make_job([load(name) for name in names], options)
    noted = f" ({'; '.join(notes)})" if notes else ""
    written = f", to {found.output}" if found.output is not None else ""
    return job, f"Understood: {job.name}, on {' and '.join(where)}{written}{noted}"


def _refuse_guess(request: Request) -> None:
    """Ask for files if a text speaks of them, or asks for work on them, and names none.

    The standard library takes a while, and the bundled records are not the user's.

    Raises:
        InputError: The text names neither files nor the sample.
    """
    if request.names_sample:
        return
    for name in request.workflows:
        if name in FILE_READERS:
            what = (
                "count the words in notes.txt" if name == "mapreduce" else "hash the files in src"
            )
            raise InputError(
                f"{name}: which files? Name a file, a folder or a glob, as in: {what}. For the "
                f"sample, this Python's standard library: python main.py --example {name}"
            )
        if request.names_files:
            raise InputError(
                f"{name}: which file? Name it, as in: people.csv. For the sample: "
                f"python main.py --example {name}"
            )


def refuse_to_overwrite(output: Path | None, names: Sequence[str]) -> None:
    """Refuse to replace the input data with results.

    Raises:
        InputError: The output file is one of the input files.
    """
    if output is None or not output.expanduser().exists():
        return
    for name in names:
        path = Path(name).expanduser()
        found = [str(path)] if path.exists() else glob.iglob(str(path), recursive=True)
        if any(output.expanduser().samefile(one) for one in found):
            raise InputError(
                f"{output} is the input: name another file for the results, as in: "
                f"{output.stem}-results.jsonl"
            )
