"""The command line of a root script: a configuration file, an option for each key, and options of its own."""

import argparse
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from ..errors import UserError
from .config_file import STRUCTURE, build, dump_config, merge, read_tree, run_name
from .former_names import current_names
from .known_names import keys_of_section, sentence, suggestion
from .rules import ANY_COUNT, check_values
from .sections import Config, flat_hints
from .typed_value import PATH, PLAIN, as_yaml, is_path, is_plain, shortened, text_to_type, type_name

_REPOSITORY = Path(__file__).resolve().parents[2]


_SHORT_NAMES = {"--data": "--data.root", "--model": "--model.name", "--on_bad_image": "--data.on_bad_image"}


class CommandLine(NamedTuple):
    """What a command line says.

    Attributes:
        config: the configuration with overrides applied.
        options: of the command, an instance of its dataclass.
        name: of the run's folder (`run_name`).
        given: what is on the command line itself, section by section; "config" only where `--config` is.
    """

    config: Config
    options: Any
    name: str
    given: dict[str, Any]


def parse_command_line(
    program: str,
    description: str,
    options: type,
    argv: Sequence[str] | None = None,
    default_config: str = "config/demo/ptnt_digits.yaml",
) -> CommandLine:
    """Parse the command line of a root script. `--help` and `--print_config` print and raise SystemExit(0).

    Args:
        program: file name of the script, such as "train.py".
        description: one sentence for `--help`.
        options: dataclass of the command's own options, with an Args section like those above. A field without a
            default is a positional argument (several where its type is a list), a bool is a flag without a value, and
            metadata={"bare": "auto"} is what an option means that is given without a value, and {"range": (1, 9)} what
            a number may be, from 0 to 10^9 else.
        argv: what follows the program's name; that of the process when None.
        default_config: the file used without `--config`, relative to the repository.

    Raises:
        UserError: an unknown option, a wrong type, a missing positional argument, and all that `load_config` raises.
    """
    given_argv = list(sys.argv[1:] if argv is None else argv)
    argv = [_long_name(token) for token in given_argv]
    hints = flat_hints(Config) | get_type_hints(options)
    positional = [option.name for option in fields(options) if _is_positional(option)]
    entries = _refuse_unknown_options(program, argv, hints, positional)
    path = _config_option(program, argv, default=os.path.relpath(_REPOSITORY / default_config))
    tree = read_tree(path)
    names_folder = any(token.partition("=")[0] == "--data" for token in given_argv)
    if names_folder and tree.get("data", {}).get("source") == "digits":  # which takes no folder
        argv = ["--data.source", "folder", *argv]
    parser = _Parser(
        prog=program,
        usage="python %(prog)s [--config FILE] [--KEY VALUE ...]" + "".join(f" {name} ..." for name in positional),
        description=f"{description} Every key of a config file is an option; defaults shown are those of {path}.",
    )
    _add_own_options(parser, options, path)
    _add_section(parser, "run", build(Config, tree))
    for entry in entries:
        parser.add_argument(f"--{entry}", help=argparse.SUPPRESS)
    texts = vars(parser.parse_args(argv))

    print_config = texts.pop("print_config", False)
    own, given = {}, {"config": texts.pop("config")} if "config" in texts else {}
    for name, text in texts.items():
        value = _read_option(program, name, text, hints.get(name, Any))
        if name in get_type_hints(options):
            own[name] = value
        else:
            given = merge(given, _nested(name, value))
    if structure := given.get("model", {}).get("structure"):
        given["model"]["structure"] = current_names(structure, f"{program}: {STRUCTURE}")
    overrides = {key: value for key, value in given.items() if key != "config"}
    if "config" not in given and overrides.get("model", {}).get("name", None) not in (None, tree["model"]["name"]):
        tree = {**tree, "model": {}}  # another variant than the default file's is meant as it was published
    config = build(Config, merge(tree, overrides))
    check_values(config, where=program)
    _check_own_options(program, options, own)
    if print_config:
        print(dump_config(config), end="")
        raise SystemExit(0)
    for option in fields(options):
        if _is_required(option) and not own.get(option.name):
            raise UserError(f"{program}: expected {option.name.upper()}, got none; see --help")
    return CommandLine(config, options(**own), run_name(path), given)


class _Parser(argparse.ArgumentParser):
    """Splits a command line into texts; what an option gets is read afterwards, and defaults are left out."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, argument_default=argparse.SUPPRESS, **kwargs)

    def error(self, message: str) -> None:
        raise UserError(f"{self.prog}: {shortened(message, 200)}; see --help")


def _add_section(parser: _Parser, title: str, section: Any, prefix: str = "") -> None:
    """One option for each key of a section, in a group of the help; defaults are the section's values."""
    group = parser.add_argument_group(title, inspect.getdoc(section).partition("Args:")[0])
    texts = _help_texts(type(section))
    for name, hint in get_type_hints(type(section)).items():
        value = getattr(section, name)
        if is_dataclass(value):
            _add_section(parser, name, value, f"{prefix}{name}.")
        else:
            _add_option(group, f"--{prefix}{name}", hint, texts.get(name, ""), value)


def _add_option(group: Any, flag: str, hint: Any, text: str, default: Any, **more: Any) -> None:
    several = get_origin(hint) is list
    item = get_args(hint)[0] if several else hint
    choices = ["true", "false"] if hint is bool else get_args(hint) if get_origin(hint) is Literal else []
    metavar = f"{{{','.join(choices)}}}" if choices else flag.rpartition(".")[2].lstrip("-").upper()
    listed = list(default) if isinstance(default, tuple) else default  # as it is written: [0.08, 1.0]
    shown = "null" if listed is None else listed
    text = f"{text} (type: {type_name(item, ' | ')}, default: {shown})".replace("%", "%%")
    group.add_argument(flag, help=text, **{"nargs": "+" if several else None, "metavar": metavar, **more})


def _add_own_options(parser: _Parser, options: type, config_path: Path) -> None:
    group = parser.add_argument_group("this command")
    _add_option(group, "--config", str, "YAML file of the run", config_path, metavar="FILE")
    group.add_argument("--print_config", action="store_true", help="print the resulting configuration as YAML and stop")
    texts, hints = _help_texts(options), get_type_hints(options)
    for option in fields(options):
        hint, text = hints[option.name], texts.get(option.name, "")
        default = option.default if option.default_factory is MISSING else option.default_factory()
        if _is_positional(option):
            nargs = "*" if get_origin(hint) is list else "?"
            parser.add_argument(option.name, nargs=nargs, help=text.replace("%", "%%"))
        elif hint is bool:
            group.add_argument(f"--{option.name}", action="store_true", help=text.replace("%", "%%"))
        elif "bare" in option.metadata:
            _add_option(group, f"--{option.name}", hint, text, default, nargs="?", const=option.metadata["bare"])
        else:
            _add_option(group, f"--{option.name}", hint, text, default)


def _is_positional(option: Field) -> bool:
    return _is_required(option) or "positional" in option.metadata


def _is_required(option: Field) -> bool:
    return option.default is MISSING and option.default_factory is MISSING


def _long_name(token: str) -> str:
    """The token with its option's whole name where it is one of the short ones."""
    option, equals, value = token.partition("=")
    return _SHORT_NAMES.get(option, option) + equals + value


def _refuse_unknown_options(program: str, argv: list[str], hints: dict[str, Any], positional: list[str]) -> list[str]:
    """Returns the options that set an entry of a dictionary, such as model.structure.depth, each once."""
    known = ["config", "print_config", "help", *(name for name in hints if name not in positional)]
    dictionaries = [name for name, hint in hints.items() if get_origin(hint) is dict]
    entries = {}
    for token in argv[: argv.index("--") if "--" in argv else None]:
        option = token.partition("=")[0]
        name = option.lstrip("-")
        if not re.match("--?[A-Za-z_]", option) or option == "-h" or (option == f"--{name}" and name in known):
            continue
        section, _, key = name.rpartition(".")
        if section in dictionaries and key and option == f"--{name}":
            entries[name] = None
            continue
        if (known_one := suggestion(name, known)) is not None:
            advice = f"the nearest known one is --{known_one}"
        else:
            advice = sentence(name) or "known: " + ", ".join(f"--{key}" for key in keys_of_section(name, known))
        raise UserError(f"{program}: unknown option {shortened(option)}; {advice}")
    return list(entries)


def _config_option(program: str, argv: list[str], default: str) -> Path:
    """Value of `--config`, which is needed before the other options because they lie on top of it."""
    parser = _Parser(prog=program, add_help=False)
    parser.add_argument("--config", default=default)
    path = parser.parse_known_args(argv)[0].config
    _check_text(program, "config", path)
    return Path(path)


def _read_option(program: str, name: str, text: str | list[str] | bool, hint: Any) -> Any:
    """What an option gets, as the type of its field."""
    if isinstance(text, bool):
        return text
    if isinstance(text, list):
        return [_read_option(program, name, item, get_args(hint)[0]) for item in text]
    expected = f"expected {type_name(hint)}, got {shortened(text) or 'nothing'}"
    try:
        return text_to_type(text, hint, f"{program}: {name}: {expected}")
    except TypeError:
        raise UserError(f"{program}: {name}: {expected}") from None


def _check_own_options(program: str, options: type, values: dict[str, Any]) -> None:
    """Ranges and lengths of what the command's own options got."""
    for option in fields(options):
        value = values.get(option.name)
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, str):
                _check_text(program, option.name, item, is_file_name=_is_positional(option))
            elif item is not None and not isinstance(item, bool):
                low, high = option.metadata.get("range", ANY_COUNT)
                if not low <= item <= high:
                    raise UserError(f"{program}: {option.name} is {as_yaml(item)}: expected from {low} to {high}")


def _check_text(program: str, name: str, text: str, is_file_name: bool = False) -> None:
    """What is too long for a path, or cannot be printed, is refused; existing files may have any name."""
    if text and not is_path(text):
        raise UserError(f"{program}: {name} is {shortened(text)}: expected {PATH}")
    if not is_file_name and not is_plain(text):
        raise UserError(f"{program}: {name} is {shortened(text)}: expected {PLAIN}")


def _nested(name: str, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} for the name a.b."""
    for key in reversed(name.split(".")):
        value = {key: value}
    return value


def _help_texts(section: type) -> dict[str, str]:
    """Name to text from the Args section of a docstring; empty where `python -OO` leaves no docstrings."""
    arguments = textwrap.dedent(inspect.getdoc(section).partition("Args:\n")[2].partition("\n\n")[0])
    return {name: " ".join(text.split()) for name, text in re.findall(r"^(\w+): (.*(?:\n +.*)*)", arguments, re.M)}
