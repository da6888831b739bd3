"""Completion for bash, zsh and fish: texts that name each verb and option, and start no program."""

from controller.cli.install.verbs import VerbText, first_words, groups_of


def render_bash(verbs: tuple[VerbText, ...]) -> str:
    """Return the script for bash."""
    cases = "".join(
        f'    "{" ".join(verb.words)}") options="{" ".join(_names(verb))}" ;;\n' for verb in verbs)
    groups = "".join(
        f'    {name}) verb="{name} ${{words[1]:-}}"; [ ${{#words[@]}} -gt 1 ] ||'
        f' {{ COMPREPLY=($(compgen -W "{" ".join(one.words[1] for one in below)}" -- "$cur"));'
        f" return; }} ;;\n" for name, below in groups_of(verbs).items())
    return f"""\
# bash completion for hotsite, printed by `hotsite systemd --part bash`
_hotsite() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" word verb options=
  local -a words=()
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    [[ $word == -* ]] || words+=("$word")
  done
  COMPREPLY=()
  if [ ${{#words[@]}} -eq 0 ]; then
    COMPREPLY=($(compgen -W "{" ".join((*first_words(verbs), "--help", "--version"))}" -- "$cur"))
    return
  fi
  verb="${{words[0]}}"
  case "$verb" in
{groups}  esac
  case "$verb" in
{cases}  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
  else
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
}}
complete -o filenames -F _hotsite hotsite
"""


def render_zsh(verbs: tuple[VerbText, ...]) -> str:
    """Return the script for zsh."""
    groups = groups_of(verbs)
    shown = "\n".join(f"    {_zsh(f'{word}:{short}')}" for word, short in
                      first_words(verbs).items())
    cases = "".join(f"    {_zsh(' '.join(verb.words))}) _arguments {_zsh_options(verb)}"
                    " '*:file:_files' ;;\n" for verb in verbs)
    below = "".join(
        f"    {name}) if (( CURRENT == 3 )); then\n      local -a more=(\n"
        + "".join(f"        {_zsh(f'{one.words[1]}:{one.short}')}\n" for one in inner)
        + '      )\n      _describe verb more\n      return\n      fi\n'
          '      verb="$verb ${words[3]}" ;;\n' for name, inner in groups.items())
    return f"""\
#compdef hotsite
# zsh completion for hotsite, printed by `hotsite systemd --part zsh`
_hotsite() {{
  local -a verbs=(
{shown}
  )
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  local verb="${{words[2]}}"
  case "$verb" in
{below}  esac
  case "$verb" in
{cases}  esac
}}
_hotsite "$@"
"""


def render_fish(verbs: tuple[VerbText, ...]) -> str:
    """Return the script for fish."""
    lines = ["# fish completion for hotsite, printed by `hotsite systemd --part fish`"]
    lines += [f"complete -c hotsite -n __fish_use_subcommand -f -a {word} -d {_fish(short)}"
              for word, short in first_words(verbs).items()]
    for name, below in groups_of(verbs).items():
        inner = " ".join(one.words[1] for one in below)
        lines += [f"complete -c hotsite -n '__fish_seen_subcommand_from {name}; and not"
                  f" __fish_seen_subcommand_from {inner}' -f -a {one.words[1]} -d"
                  f" {_fish(one.short)}" for one in below]
    for verb in verbs:
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in verb.words)
        for option in verb.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                             for name in option.names)
            lines.append(f"complete -c hotsite -n '{seen}' {names}"
                         f"{' -r' if option.takes else ''} -d {_fish(option.help)}")
    return "\n".join(lines) + "\n"


def _names(verb: VerbText) -> list[str]:
    return [name for option in verb.options for name in option.names]


def _zsh(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _zsh_options(verb: VerbText) -> str:
    return " ".join(
        _zsh(f"{name}[{_bracketed(option.help)}]"
             + (f":{option.takes.replace(':', ' ')}:_files" if option.takes else ""))
        for option in verb.options for name in option.names)


def _bracketed(text: str) -> str:
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
