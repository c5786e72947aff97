# Completion of coracle for fish. The program itself says what fits; see "coracle completion --help".
function __coracle_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l state next
    set -l given $words[2..]
    if test -n "$word"
        set state word
        set -a given $word
    end
    for reply in (command coracle __complete $state $given 2>/dev/null)
        switch $reply
            case ':files*' ':dirs*'
                set -l head (string match -r -- '^--[^=]*=' "$word")
                for path in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' "$word"))
                    echo -- "$head$path"
                end
            case ':commands*'
                __fish_complete_command
            case ':*'
            case '*'
                echo -- $reply
        end
    end
end
complete -c coracle -f -a '(__coracle_complete)'
