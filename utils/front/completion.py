"""``doit completion``: completion of commands, models, options and ``name=`` for bash and zsh."""

from __future__ import annotations

import sys
from typing import Any

from doit.cmd_base import Command as DoitCommand

from utils.errors import UsageError, did_you_mean
from utils.front.commands import OURS, VALUES
from utils.recipe.load import read_recipes
from utils.untrusted import as_text

__all__ = ["Completion"]

_BASH = """\
# Completion of doit and docker/run for bash. Made by: doit completion bash
_zoo() {
    local line=${COMP_LINE:0:COMP_POINT} word
    word=${line##*[[:space:]]} # readline splits at : and =
    case $COMP_CWORD:${COMP_WORDS[0]} in 1:*run) COMPREPLY=($(compgen -W 'doit pytest @WORDS@' -- "$word")) ;;
        *) COMPREPLY=($(compgen -W '@WORDS@ @VALUES@ @OPTIONS@' -- "$word")) ;;
    esac
    local break=${word%"${word##*[:=]}"}
    COMPREPLY=("${COMPREPLY[@]#"$break"}")
    case ${COMPREPLY[0]-} in *=) compopt -o nospace ;; esac
}
complete -o default -F _zoo doit docker/run ./docker/run
"""

_ZSH = """\
#compdef doit docker/run ./docker/run
# Completion of doit and docker/run for zsh. Made by: doit completion zsh
_zoo() {
    local -a tasks values options
    tasks=(@WORDS@)
    values=(@VALUES@)
    options=(@OPTIONS@)
    if [[ $words[1] = *run && $CURRENT -eq 2 ]]; then tasks+=(doit pytest); fi
    local none=1
    compadd -- $tasks && none=0
    compadd -S '' -- $values && none=0
    if [[ $words[CURRENT] = -* ]]; then compadd -- $options && none=0; fi
    if (( none )); then _files; fi
}
compdef _zoo doit docker/run ./docker/run
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH}


class Completion(DoitCommand):  # type: ignore[misc]  # doit is untyped
    """Prints the completion script of a shell."""

    name = "completion"
    doc_purpose = "print the completion script of a shell"
    doc_usage = "bash|zsh"

    def execute(self, opt_values: Any, pos_args: list[str]) -> int:
        """Print the script of the shell that ``pos_args`` names."""
        shell = pos_args[0] if len(pos_args) == 1 else ""
        if shell not in _SCRIPTS:
            what = f"no completion for {as_text(shell)!r}{did_you_mean(shell, _SCRIPTS)}" if shell else "which shell?"
            hint = "docker/run doit completion bash >~/.zoo-completion, and `. ~/.zoo-completion` in ~/.bashrc; or zsh"
            raise UsageError(what, hint=hint)
        models = read_recipes()[0]
        bases = ("vela", "compat", "explain", "board")
        tasks = [*OURS, *models, *(f"{base}:{name}" for base in bases for name in models)]
        own = {option for command in OURS.values() for option in command.options}
        options = sorted(own | {"-n", "-v", "-a", "--check", "--help"})
        script = _SCRIPTS[shell]
        for mark, found in (("@WORDS@", tasks), ("@VALUES@", [f"{name}=" for name in VALUES]), ("@OPTIONS@", options)):
            script = script.replace(mark, " ".join(found))
        sys.stdout.write(script)
        return 0
