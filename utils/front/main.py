"""Our doit: the same engine with our commands, and errors in our words.

``dodo.py`` hands over to it whoever started doit, so ``docker/run doit``, ``python -m doit`` and the program ``doit``
are alike. Not so without a word that is a name: then ``python -m utils.front`` alone, which docker/run starts, knows
``help`` as ours, and ``--check``.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Collection
from typing import Any

from doit import doit_cmd
from doit.cmd_base import get_loader
from doit.cmd_clean import Clean
from doit.cmd_run import Run
from doit.cmdparse import CmdOption, CmdParse, CmdParseError
from doit.exceptions import InvalidCommand, InvalidDodoFile, InvalidTask

from utils import program, timing
from utils.errors import EngineError, UsageError, ZooError
from utils.front import index, matrix, sharing, words
from utils.front.completion import Completion
from utils.front.help import Help
from utils.front.info import Info
from utils.front.listing import List
from utils.front.report import Report
from utils.untrusted import as_text

__all__ = ["run", "take_over"]

_running: list[bool] = []


#: Without it, a file that looks as it did when doit last read it is not read again.
_CHECK = {
    "name": "check",
    "long": "check",
    "type": bool,
    "default": False,
    "help": "read every file, also those that look unchanged",
}


class _Run(Run):  # type: ignore[misc]  # doit is untyped
    """Runs tasks; the reporter hears how much to say, and how many run side by side."""

    name = "run"
    cmd_options = (*Run.cmd_options, _CHECK)

    def execute(self, params: Any, args: list[str]) -> int:
        """Run the tasks that ``args`` name."""
        if "matrix" in args:  # behind options
            return self.share(params, [word for word in args if word != "matrix"])
        names = [word for word in args if not word.startswith("-")]
        words.check_tasks(names, [command.get_name() for command in _Zoo.DOIT_CMDS])
        words.check_variables("run", names, words.find_given())
        if "publish" in names:
            words.check_place(str(doit_cmd.get_var("to", "")))
        words.check_targets(str(doit_cmd.get_var("target", "")))
        return self._build(params, args, names)

    def share(self, params: Any, args: list[str]) -> int:
        """Print the shards of a build, or build the models of one."""
        if args:
            hint = "models=NAME,NAME names models; doit help matrix; nothing was done"
            raise UsageError(f"matrix takes no {as_text(args[0])!r}", hint=hint)
        given = words.find_given()
        words.check_variables("matrix", [], given)
        asked = matrix.read_request({name: str(doit_cmd.get_var(name)) for name in given})
        if asked.shard is None:
            sys.stdout.write(f"{asked.dump()}\n")
            return 0
        models = asked.share(asked.shard)
        if not models:
            sys.stdout.write(f"nothing to do: shard {asked.shard}/{asked.shards} has no model\n")
            return 0
        return self._build(params, [*models], models)

    def _build(self, params: Any, args: list[str], names: Collection[str]) -> int:
        sharing.require_cluster(names)
        index.begin(reads_all=params["check"])
        code = int(super().execute(params, args))
        return EngineError.exit_code if sharing.cluster_has_failed() else code

    def _execute(self, outfile: Any, verbosity: Any = None, always: bool = False, continue_: bool = False,
                 reporter: Any = "console", num_process: int = 0, par_type: str = "thread", single: bool = False,
                 auto_delayed_regex: bool = False, force_verbosity: bool = False, failure_verbosity: int = 0,
                 pdb: bool = False) -> int:  # fmt: skip
        Report.verbosity = max(0, min(int(verbosity if verbosity is not None else 1), 2))
        Report.workers = max(num_process, 1)
        return int(super()._execute(outfile, 2, always, continue_, reporter, num_process, par_type, single,
                                    auto_delayed_regex, force_verbosity, failure_verbosity, pdb))  # fmt: skip


class _Matrix(_Run):
    """Deals a build out to several machines."""

    name = "matrix"
    doc_purpose = "print the shards of a build as JSON, or build one"

    def execute(self, params: Any, args: list[str]) -> int:
        """Print or build; every word is a ``name=value``."""
        return self.share(params, args)


class _Clean(Clean):  # type: ignore[misc]  # doit is untyped
    """Removes what was made."""

    name = "clean"

    def execute(self, params: Any, args: list[str]) -> Any:
        """Clean the tasks that ``args`` name."""
        words.check_variables("clean", [], words.find_given())
        return super().execute(params, args)

    def _execute(self, dryrun: Any, cleandep: Any, cleanall: Any, cleanforget: Any, pos_args: Any = None) -> Any:
        groups = {task.name: task.task_dep for task in self.task_list if not task.actions and not task.has_subtask}
        names = [name for word in pos_args or [] for name in groups.get(word, [word])]  # demo: its models
        return super()._execute(dryrun, cleandep, cleanall, cleanforget, names)


class _Zoo(doit_cmd.DoitMain):  # type: ignore[misc]  # doit is untyped
    """doit with our commands."""

    DOIT_CMDS = (_Run, _Matrix, List, Info, Help, _Clean, Completion)

    def run(self, all_args: list[str]) -> int:
        """Run one command line; what is wrong with it ends the program in our words."""
        self._command: Any = None
        try:
            return self._run_line(all_args)
        except CmdParseError as error:
            program.end(self._explain_parse(error))
        except InvalidCommand as error:
            program.end(self._explain_command(error))
        except (InvalidDodoFile, InvalidTask) as error:
            program.end(UsageError(str(error), where="dodo.py"))
        except ZooError as error:
            program.end(error)

    def _run_line(self, all_args: list[str]) -> int:
        words.check_line(all_args)
        commands = self.get_cmds()
        loader = get_loader(self.config, self.task_loader, commands)
        if all_args[:1] == ["--version"]:
            self.print_version()
            return 0
        options, rest = {}, all_args
        try:
            options, rest = CmdParse([CmdOption(option) for option in loader.cmd_options]).parse_only(all_args)
        except CmdParseError:
            options = {}  # the command is left out, and its options come first
        args = self.process_args(rest)
        if {"-h", "--help"} & {*args}:
            args = ["help", *[word for word in args if not word.startswith("-") and word != "help"][:1]]
        name = args.pop(0) if args and args[0] in commands else "run"
        if issubclass(commands.get_plugin(name), _Run):
            args.sort(key=lambda word: word != "--check")  # it may also stand behind the names
        self._command = commands.get_plugin(name)(
            task_loader=loader, config=self.config, bin_name="doit", cmds=commands, opt_vals=options
        )
        return int(self._command.parse_execute(args) or 0)

    def _task_names(self) -> list[str]:
        return [task.name for task in getattr(self._command, "task_list", None) or []]

    def _explain_parse(self, error: CmdParseError) -> UsageError:
        found = re.search(r"option (-\S+) (not recognized|requires argument|must not have an argument)", str(error))
        if not found:
            return UsageError(as_text(error), hint="doit help; nothing was done")
        if found[2] != "not recognized":
            return UsageError(f"the option {found[1]!r} {found[2]}", hint="doit help; nothing was done")
        known = (
            [f"--{option.long}" for option in self._command.cmdparser.options if option.long] if self._command else []
        )
        return words.explain_option(found[1], known)

    def _explain_command(self, error: InvalidCommand) -> UsageError:
        quoted = re.match(r"'(.*)' is not a task", str(error))
        word = getattr(error, "not_found", None) or (quoted[1] if quoted else None)
        if not word:
            return UsageError(as_text(error), hint="doit help; nothing was done")
        return words.explain_task(word, self._task_names(), [*self.get_cmds()])


def run(arguments: list[str]) -> int:
    """Run our doit; its exit code."""
    _running.append(True)
    timing.begin("doit", alone=True)
    gc.set_threshold(100_000)  # recipes and tasks live as long as this process: looking for garbage in them finds none
    sys.modules.pop("dodo", None)  # half loaded, where dodo.py has called
    code = int(_Zoo().run(arguments))
    index.save()
    return code


def take_over() -> None:
    """Hand over to our doit, where another one reads ``dodo.py``; it ends the process then."""
    if doit_cmd._CMDLINE_VARS is not None and not _running:  # noqa: SLF001  # that is how doit knows, too
        sys.exit(run(sys.argv[1:]))
