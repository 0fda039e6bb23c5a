#include "cli/completion.hpp"

#include <algorithm>
#include <utility>

namespace firn::cli {

namespace {

constexpr const char* head = R"bash(# bash completion of firnctl. Made by "firnctl completion bash".
# For one shell: source <(firnctl completion bash); for all: install it as /usr/share/bash-completion/completions/firnctl.

_firnctl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous= path=firnctl words= options= valued= names= skip= count=0 i
  ((COMP_CWORD > 0)) && previous=${COMP_WORDS[COMP_CWORD - 1]}
  for ((i = 1; i <= COMP_CWORD; i++)); do
    case $path in
)bash";

constexpr const char* tail = R"bash(      *) words= options= valued= names= ;;
    esac
    ((i == COMP_CWORD)) && break
    if [[ -n $skip ]]; then
      skip=
    elif [[ " $valued " == *" ${COMP_WORDS[i]} "* ]]; then
      skip=1
    elif [[ " $words " == *" ${COMP_WORDS[i]} "* ]]; then
      path="$path ${COMP_WORDS[i]}"
    elif [[ ${COMP_WORDS[i]} != -* ]]; then
      count=$((count + 1))
    fi
  done
  COMPREPLY=()
  case $previous in
    -o | --output)
      COMPREPLY=($(compgen -W "table json yaml" -- "$current"))
      return
      ;;
    --state-dir | --socket | --password-file | --etcd-ca | --etcd-cert | --etcd-key | --etcd-password-file | -f | --filename)
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -f -- "$current"))
      return
      ;;
  esac
  [[ -n $skip ]] && return
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [[ -n $words ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  elif [[ -n $names ]] && ((count == 0)); then
    COMPREPLY=($(compgen -W "$(firnctl $names list 2>/dev/null | awk 'NR > 1 { print $1 }')" -- "$current"))
  fi
}
complete -F _firnctl firnctl
)bash";

// Which list command knows the names that the first positional wants.
std::string noun_of(const CompletionCommand& command) {
  static const std::pair<const char*, const char*> nouns[] = {
      {"POOL", "pool"},       {"PEER", "bgp peer"},           {"NODE", "node"},
      {"HANDLE", "endpoint"}, {"RESERVATION", "reservation"}, {"POLICY", "policy"}};
  if (command.positionals.empty()) return {};
  for (const auto& [value, noun] : nouns) {
    if (command.positionals.front() == value) return noun;
  }
  return {};
}

void append(std::string& list, const std::string& word) { list.append(list.empty() ? "" : " ").append(word); }

}  // namespace

std::string bash_script(const std::vector<CompletionCommand>& commands) {
  std::string out = head;
  for (const CompletionCommand& command : commands) {
    std::string words, options, valued;
    for (const std::string& word : command.words) append(words, word);
    for (const CompletionOption& option : command.options) {
      for (const std::string& name : option.names) {
        if (name.rfind("--", 0) == 0) append(options, name);
        if (option.takes_value) append(valued, name);
      }
    }
    out += "      \"" + command.path + "\")\n";
    out += "        words=\"" + words + "\" names=\"" + noun_of(command) + "\"\n";
    out += "        options=\"" + options + "\"\n";
    out += "        valued=\"" + valued + "\"\n";
    out += "        ;;\n";
  }
  return out + tail;
}

}  // namespace firn::cli
