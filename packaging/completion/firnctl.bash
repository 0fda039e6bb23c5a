# bash completion of firnctl. Made by "firnctl completion bash".
# For one shell: source <(firnctl completion bash); for all: install it as /usr/share/bash-completion/completions/firnctl.

_firnctl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous= path=firnctl words= options= valued= names= skip= count=0 i
  ((COMP_CWORD > 0)) && previous=${COMP_WORDS[COMP_CWORD - 1]}
  for ((i = 1; i <= COMP_CWORD; i++)); do
    case $path in
      "firnctl")
        words="init join status cluster node pool reservation ipam endpoint route trace policy bgp get apply diff delete completion version" names=""
        options="--help --version --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl init")
        words="" names=""
        options="--help --output --state-dir --socket --name --address --label --as --router-id --pool --etcd --etcd-ca --etcd-cert --etcd-key --etcd-user --etcd-password-file --etcd-prefix"
        valued="-o --output --state-dir --socket --name --address --label --as --router-id --pool --etcd --etcd-ca --etcd-cert --etcd-key --etcd-user --etcd-password-file --etcd-prefix"
        ;;
      "firnctl join")
        words="" names=""
        options="--help --output --state-dir --socket --name --address --label --etcd --etcd-ca --etcd-cert --etcd-key --etcd-user --etcd-password-file --etcd-prefix"
        valued="-o --output --state-dir --socket --name --address --label --etcd --etcd-ca --etcd-cert --etcd-key --etcd-user --etcd-password-file --etcd-prefix"
        ;;
      "firnctl status")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl cluster")
        words="status set migrate accept" names=""
        options="--help"
        valued=""
        ;;
      "firnctl cluster status")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl cluster set")
        words="" names=""
        options="--help --output --state-dir --socket --node-grace"
        valued="-o --output --state-dir --socket --node-grace"
        ;;
      "firnctl cluster migrate")
        words="" names=""
        options="--help --output --state-dir --socket --etcd --etcd-ca --etcd-cert --etcd-key --etcd-user --etcd-password-file --etcd-prefix"
        valued="-o --output --state-dir --socket --etcd --etcd-ca --etcd-cert --etcd-key --etcd-user --etcd-password-file --etcd-prefix"
        ;;
      "firnctl cluster accept")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl node")
        words="list show drain-bgp undrain set remove" names=""
        options="--help"
        valued=""
        ;;
      "firnctl node list")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl node show")
        words="" names="node"
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl node drain-bgp")
        words="" names="node"
        options="--help --output --state-dir --socket --grace --wait --timeout"
        valued="-o --output --state-dir --socket --grace --timeout"
        ;;
      "firnctl node undrain")
        words="" names="node"
        options="--help --output --state-dir --socket --wait --timeout"
        valued="-o --output --state-dir --socket --timeout"
        ;;
      "firnctl node set")
        words="" names="node"
        options="--help --output --state-dir --socket --as --address --label"
        valued="-o --output --state-dir --socket --as --address --label"
        ;;
      "firnctl node remove")
        words="" names="node"
        options="--help --output --state-dir --socket --force"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl pool")
        words="create list show set delete resize split merge resume" names=""
        options="--help"
        valued=""
        ;;
      "firnctl pool create")
        words="" names=""
        options="--help --output --state-dir --socket --block-size --disabled --mode --cross-subnet --no-cross-subnet --advertise --no-advertise --strict --no-strict --status-when-low --no-status-when-low --node-selector --nat --no-nat --nat-exclude --extra-sources --nat-source"
        valued="-o --output --state-dir --socket --block-size --mode --node-selector --nat-exclude --extra-sources --nat-source"
        ;;
      "firnctl pool list")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl pool show")
        words="" names="pool"
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl pool set")
        words="" names="pool"
        options="--help --output --state-dir --socket --disabled --enabled --mode --cross-subnet --no-cross-subnet --advertise --no-advertise --strict --no-strict --status-when-low --no-status-when-low --node-selector --nat --no-nat --nat-exclude --extra-sources --nat-source"
        valued="-o --output --state-dir --socket --mode --node-selector --nat-exclude --extra-sources --nat-source"
        ;;
      "firnctl pool delete")
        words="" names="pool"
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl pool resize")
        words="" names="pool"
        options="--help --output --state-dir --socket --drain --wait"
        valued="-o --output --state-dir --socket --wait"
        ;;
      "firnctl pool split")
        words="" names="pool"
        options="--help --output --state-dir --socket --into"
        valued="-o --output --state-dir --socket --into"
        ;;
      "firnctl pool merge")
        words="" names="pool"
        options="--help --output --state-dir --socket --into"
        valued="-o --output --state-dir --socket --into"
        ;;
      "firnctl pool resume")
        words="" names="pool"
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl reservation")
        words="add list remove" names=""
        options="--help"
        valued=""
        ;;
      "firnctl reservation add")
        words="" names=""
        options="--help --output --state-dir --socket --note"
        valued="-o --output --state-dir --socket --note"
        ;;
      "firnctl reservation list")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl reservation remove")
        words="" names="reservation"
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl ipam")
        words="show release check reset dump" names=""
        options="--help"
        valued=""
        ;;
      "firnctl ipam show")
        words="" names=""
        options="--help --output --state-dir --socket --address --all"
        valued="-o --output --state-dir --socket --address"
        ;;
      "firnctl ipam release")
        words="" names=""
        options="--help --output --state-dir --socket --handle --force"
        valued="-o --output --state-dir --socket --handle"
        ;;
      "firnctl ipam check")
        words="" names=""
        options="--help --output --state-dir --socket --fix --all"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl ipam reset")
        words="" names=""
        options="--help --output --state-dir --socket --force"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl ipam dump")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl endpoint")
        words="list show label" names=""
        options="--help"
        valued=""
        ;;
      "firnctl endpoint list")
        words="" names=""
        options="--help --output --state-dir --socket --network --all"
        valued="-o --output --state-dir --socket --network"
        ;;
      "firnctl endpoint show")
        words="" names="endpoint"
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl endpoint label")
        words="" names="endpoint"
        options="--help --output --state-dir --socket --annotation"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl route")
        words="list why" names=""
        options="--help"
        valued=""
        ;;
      "firnctl route list")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl route why")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl trace")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl policy")
        words="list show explain counters log" names=""
        options="--help"
        valued=""
        ;;
      "firnctl policy list")
        words="" names=""
        options="--help --output --state-dir --socket --endpoint --interface"
        valued="-o --output --state-dir --socket --endpoint --interface"
        ;;
      "firnctl policy show")
        words="" names="policy"
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl policy explain")
        words="" names=""
        options="--help --output --state-dir --socket --from --to --port --source-port --icmp --protocol --interface"
        valued="-o --output --state-dir --socket --from --to --port --source-port --icmp --protocol --interface"
        ;;
      "firnctl policy counters")
        words="" names="policy"
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl policy log")
        words="" names=""
        options="--help --output --state-dir --socket --group --count"
        valued="-o --output --state-dir --socket --group --count"
        ;;
      "firnctl bgp")
        words="peer filter community prefix status routes settings" names=""
        options="--help"
        valued=""
        ;;
      "firnctl bgp peer")
        words="add list show set remove" names=""
        options="--help"
        valued=""
        ;;
      "firnctl bgp peer add")
        words="" names=""
        options="--help --output --state-dir --socket --address --as --range --node --selector --local-as --allow-own-as --port --interface --source --password-file --multihop --ttl-security --no-ttl-security --passive --no-passive --hold-time --keepalive-time --connect-retry --graceful-restart --no-graceful-restart --graceful-restart-time --long-lived-graceful-restart --no-long-lived-graceful-restart --long-lived-stale-time --bfd --no-bfd --both-families --no-both-families --extended-next-hop --no-extended-next-hop --reflect --no-reflect --keep-next-hop --no-keep-next-hop --max-prefixes --max-prefixes-action --community --prepend --med --import-filter --export-filter --import --export"
        valued="-o --output --state-dir --socket --address --as --range --node --selector --local-as --allow-own-as --port --interface --source --password-file --multihop --hold-time --keepalive-time --connect-retry --graceful-restart-time --long-lived-stale-time --max-prefixes --max-prefixes-action --community --prepend --med --import-filter --export-filter --import --export"
        ;;
      "firnctl bgp peer list")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp peer show")
        words="" names="bgp peer"
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp peer set")
        words="" names="bgp peer"
        options="--help --output --state-dir --socket --address --as --range --node --selector --local-as --allow-own-as --port --interface --source --password-file --multihop --ttl-security --no-ttl-security --passive --no-passive --hold-time --keepalive-time --connect-retry --graceful-restart --no-graceful-restart --graceful-restart-time --long-lived-graceful-restart --no-long-lived-graceful-restart --long-lived-stale-time --bfd --no-bfd --both-families --no-both-families --extended-next-hop --no-extended-next-hop --reflect --no-reflect --keep-next-hop --no-keep-next-hop --max-prefixes --max-prefixes-action --community --prepend --med --import-filter --export-filter --import --export"
        valued="-o --output --state-dir --socket --address --as --range --node --selector --local-as --allow-own-as --port --interface --source --password-file --multihop --hold-time --keepalive-time --connect-retry --graceful-restart-time --long-lived-stale-time --max-prefixes --max-prefixes-action --community --prepend --med --import-filter --export-filter --import --export"
        ;;
      "firnctl bgp peer remove")
        words="" names="bgp peer"
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp filter")
        words="add set list show remove" names=""
        options="--help"
        valued=""
        ;;
      "firnctl bgp filter add")
        words="" names=""
        options="--help --output --state-dir --socket --rule --note"
        valued="-o --output --state-dir --socket --rule --note"
        ;;
      "firnctl bgp filter set")
        words="" names=""
        options="--help --output --state-dir --socket --rule --note"
        valued="-o --output --state-dir --socket --rule --note"
        ;;
      "firnctl bgp filter list")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp filter show")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp filter remove")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp community")
        words="add set list remove" names=""
        options="--help"
        valued=""
        ;;
      "firnctl bgp community add")
        words="" names=""
        options="--help --output --state-dir --socket --value --note"
        valued="-o --output --state-dir --socket --value --note"
        ;;
      "firnctl bgp community set")
        words="" names=""
        options="--help --output --state-dir --socket --value --note"
        valued="-o --output --state-dir --socket --value --note"
        ;;
      "firnctl bgp community list")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp community remove")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp prefix")
        words="add set list remove" names=""
        options="--help"
        valued=""
        ;;
      "firnctl bgp prefix add")
        words="" names=""
        options="--help --output --state-dir --socket --selector --community --note"
        valued="-o --output --state-dir --socket --selector --community --note"
        ;;
      "firnctl bgp prefix set")
        words="" names=""
        options="--help --output --state-dir --socket --selector --community --note"
        valued="-o --output --state-dir --socket --selector --community --note"
        ;;
      "firnctl bgp prefix list")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp prefix remove")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp status")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp routes")
        words="" names="bgp peer"
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl bgp settings")
        words="" names=""
        options="--help --output --state-dir --socket --as --router-id --as-of --ecmp --topology --reflectors --cluster-id --mesh-limit --node-password-file --node-bfd --no-node-bfd --node-hold-time"
        valued="-o --output --state-dir --socket --as --router-id --as-of --ecmp --topology --reflectors --cluster-id --mesh-limit --node-password-file --node-hold-time"
        ;;
      "firnctl get")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl apply")
        words="" names=""
        options="--help --output --state-dir --socket --filename --dry-run"
        valued="-o --output --state-dir --socket -f --filename"
        ;;
      "firnctl diff")
        words="" names=""
        options="--help --output --state-dir --socket --filename"
        valued="-o --output --state-dir --socket -f --filename"
        ;;
      "firnctl delete")
        words="" names=""
        options="--help --output --state-dir --socket --filename"
        valued="-o --output --state-dir --socket -f --filename"
        ;;
      "firnctl completion")
        words="bash" names=""
        options="--help"
        valued=""
        ;;
      "firnctl completion bash")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      "firnctl version")
        words="" names=""
        options="--help --output --state-dir --socket"
        valued="-o --output --state-dir --socket"
        ;;
      *) words= options= valued= names= ;;
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
