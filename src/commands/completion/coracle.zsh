#compdef coracle
# Completion of coracle for zsh. The program itself says what fits; see "coracle completion --help".
_coracle() {
    local state=word reply directive= name
    local -a lines given plain
    [[ -n ${words[CURRENT]} ]] || state=next
    given=("${(@Q)words[2,CURRENT]}")
    [[ $state == word ]] || given=("${(@)given[1,-2]}")
    lines=("${(@f)$(command coracle __complete $state "${(@)given}" 2>/dev/null)}")
    for reply in "${(@)lines}"; do
        case $reply in
        '') ;;
        :*) directive+=$reply ;;
        *)
            name=${reply%%$'\t'*}
            plain+=("${name//:/\\:}:${reply#*$'\t'}")
            ;;
        esac
    done
    local -a options
    [[ $directive == *:nospace* ]] && options=(-S '')
    (( $#plain )) && _describe -t words word plain "${(@)options}"
    [[ $directive == *:(files|dirs)* && ${words[CURRENT]} == --*=* ]] && compset -P '*='
    case $directive in
    *:files*) _files ;;
    *:dirs*) _files -/ ;;
    *:commands*) _command_names -e ;;
    esac
}
# Read as a file of $fpath the function is called at once; sourced, it is registered.
if [[ $funcstack[1] == _coracle ]]; then
    _coracle "$@"
else
    compdef _coracle coracle
fi
