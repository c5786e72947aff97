# Completion of coracle for bash. The program itself says what fits; see "coracle completion --help".
_coracle() {
    local line=${COMP_LINE:0:COMP_POINT} word state=word directive= reply lines
    local -a words
    read -ra words <<<"$line"
    case $line in
    *[[:blank:]]) state=next word= ;;
    *) word=${words[${#words[@]} - 1]} ;;
    esac
    COMPREPLY=()
    mapfile -t lines < <(command coracle __complete "$state" "${words[@]:1}" 2>/dev/null)
    # bash takes what follows a colon or an equals sign for a word of its own.
    local prefix=${word%"${word##*[:=]}"}
    for reply in "${lines[@]}"; do
        case $reply in
        :*) directive+=$reply ;;
        *)
            reply=${reply%%$'\t'*}
            COMPREPLY+=("${reply#"$prefix"}")
            ;;
        esac
    done
    word=${word#"$prefix"}
    case $directive in
    *:files*) compopt -o filenames 2>/dev/null && mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$word") ;;
    *:dirs*) compopt -o filenames 2>/dev/null && mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$word") ;;
    *:commands*) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -c -- "$word") ;;
    esac
    case $directive in
    *:nospace*) compopt -o nospace 2>/dev/null ;;
    esac
}
complete -F _coracle coracle
