# shellcheck shell=bash
# docker/run, part 1: the paths that you name, as CMD has to read them here and in the container.
# Takes: root. Fills: words, and for image.sh:
: "${root:?}"
box_words=() # CMD, for the container
box_paths=() # NAME=PATH of the variables, for the container
mounts=()    # access, path here and path in the container, one after the other
notes=()     # what to say where those two differ

# Every path that CMD takes from outside the checkout has a row: a word of CMD or a variable, the kind
# (file, folder, any), the access, and the commands that it is for. The first row that fits and is for CMD counts.
# Access is read, write, or beside: the result goes beside the file, so that its folder is written to; a folder that is
# replaced as a whole is made beside the old one. Around is the same for a folder that has to be there.
path_table() {
    cat <<'END'
weights=*      any     read   all
key=*          file    read   release,verify
pubkey=*       file    read   release:check,publish
path=*         folder  read   release:check,publish
with=*         folder  read   release:check
rebuilders=*   file    read   release:check
rebuilds=*     folder  read   release:check,publish
release=oci:*  folder  read   verify
release=*      folder  around verify
file=*         file    beside vela
file=*         file    read   compat
list=*         file    read   mirror
from=*         folder  read   mirror
to=dir:*       folder  write  publish
to=oci:*       folder  write  publish
to=*           folder  write  mirror,vela,verify
to=*           folder  beside catalogue
previous=*     folder  read   catalogue,release
ZOO_MIRROR     any     read   all
ZOO_CACHE      folder  write  all
ZOO_KEY        file    read   release
ZOO_STEPS_KEY  file    read   all
ZOO_STEPS_PUBKEY file  read   all
ZOO_TLS        folder  read   all
ZOO_WEIGHTS    any     read   all
ZOO_WEIGHTS_*  any     read   all
END
}

# has_word WORD CMD...
has_word() {
    local wanted=$1 word
    shift
    for word; do [ "$word" != "$wanted" ] || return 0; done
    return 1
}

# Whether CMD is doit or a module of the project: in another command, to=x is not our word.
is_zoo_command() { # CMD...
    [ "$1" != doit ] || return 0
    while [ $# -ge 2 ]; do
        case $1:$2 in -m:doit | -m:utils.*) return 0 ;; esac
        shift
    done
    return 1
}

# find_rule WORD-OR-VARIABLE CMD...: sets row (the pattern that fits), and rule, which is row where it is for CMD.
find_rule() {
    local name=$1 row_kind row_access commands command pattern
    shift
    row='' rule='' kind='' access=''
    while read -r pattern row_kind row_access commands; do
        # shellcheck disable=SC2254 # the table holds patterns
        case $name in $pattern) ;; *) continue ;; esac
        row=$pattern
        for command in ${commands//,/ }; do
            if [ "$command" = all ] || has_word "$command" "$@"; then
                rule=$pattern kind=$row_kind access=$row_access
                return
            fi
        done
    done < <(path_table)
}

# Whether the word names no path of this machine: an address, or a place that CMD refuses in words of its own.
is_no_path() { # PATTERN WORD
    case $1 in
        'to=dir:*') [[ $2 = to=dir://* && $2 != to=dir:///* ]] ;; # to=dir:///x is /x
        'to=oci:*') [[ $2 = to=oci://* ]] ;;
        'release=oci:*') [[ $2 = release=oci://* ]] ;;
        'release=*') [[ $2 = *://* ]] ;;
        'to=*') [[ $2 = to=dir:* || $2 = to=oci:* || $2 = *://* ]] ;;
        *) return 1 ;;
    esac
}

# physical PATH: absolute and without links, also where nothing is there yet.
physical() {
    local path=$1 rest='' link links=0
    case $path in
        \~ | \~/*) path=${HOME-}${path#'~'} ;; # the shell leaves the ~ of key=~/... alone
        /*) ;;
        *) path=$PWD/$path ;;
    esac
    while [ ! -d "$path" ]; do
        if [ -L "$path" ]; then
            links=$((links + 1))
            [ "$links" -le 40 ] || return 1
            link=$(readlink "$path")
            case $link in /*) path=$link ;; *) path=$(dirname "$path")/$link ;; esac
        else
            rest=/$(basename "$path")$rest
            path=$(dirname "$path")
        fi
    done
    case $rest/ in */../* | */./*) return 1 ;; esac
    path=$(cd "$path" && pwd -P) || return 1
    path=${path%/}$rest
    echo "${path:-/}"
}

# Where the container must not have a mount: the image has something there, or only root may look.
is_taken_in_image() {
    case $1 in
        / | /home | /media | /mnt | /opt | /root | /run | /srv | /tmp | /var) return 0 ;;
        /bin | /bin/* | /boot | /boot/* | /dev | /dev/* | /etc | /etc/* | /lib* | /proc | /proc/* | /sbin | /sbin/*) return 0 ;;
        /sys | /sys/* | /usr | /usr/* | /workspace | /workspace/* | /opt/zoo* | /opt/vela* | /opt/engine* | /opt/bom.json | /var/lib) return 0 ;;
        /run/secrets* | /var/lib/dpkg* | /tmp/.docker*) return 0 ;;
        /root/*) [ "$(id -u)" != 0 ] || [ ! -O "$root" ] ;; # the entrypoint becomes the owner of the checkout
        *) return 1 ;;
    esac
}

# take_path NAME VALUE: checks it; sets here_path (absolute) and box_path (in the container), and adds the mount.
take_path() {
    local name=$1 value=$2 at seen
    refuse_control "$name" "$value"
    here_path=$(physical "$value") || die "$name: no such file or folder: $value (seen from $PWD)"
    if [ ! -e "$here_path" ]; then
        [ "$access" = write ] || [ "$access $kind" = 'beside folder' ] ||
            die "$name: no such file or folder: $value (seen from $PWD)"
    elif [ "$kind" = file ] && [ -d "$here_path" ]; then
        die "$name: $value is a folder -> name a file"
    elif [ "$kind" = folder ] && [ ! -d "$here_path" ]; then
        die "$name: $value is a file -> name a folder"
    fi
    case $here_path in
        "$root" | "$root"/*) box_path=/workspace${here_path#"$root"}; return ;;
    esac
    # The same name inside as outside: then messages and hints name what the user has.
    seen=$here_path
    case $access in beside | around) seen=$(dirname "$here_path") ;; esac
    [ "$kind $seen" != 'folder /' ] || [ "$seen" = "$here_path" ] || die "$name: $value is too close to / -> name a folder in another"
    box_path=$here_path
    if is_taken_in_image "$seen"; then
        at=${name%%=*}
        box_path=/mnt/$at${here_path#"$(dirname "$seen")"}
        notes+=("in the container $here_path is $box_path")
    fi
    case $access in
        beside | around) mounts+=(write "$seen" "$(dirname "$box_path")") ;;
        *) mounts+=("$access" "$here_path" "$box_path") ;;
    esac
    # Who has rebuilt a release is said beside it.
    if [ "$name" = path= ] && [ -d "$here_path.rebuilds" ]; then mounts+=(read "$here_path.rebuilds" "$box_path.rebuilds"); fi
}

# take_word PREFIX VALUE: sets here_word and box_word. In the checkout a path becomes relative to it: there CMD runs.
take_word() {
    take_path "$1" "$2"
    case $here_path in
        "$root") here_word=. box_word=. ;;
        "$root"/*) here_word=${here_path#"$root"/} box_word=$here_word ;;
        *) here_word=$here_path box_word=$box_path ;;
    esac
}

# take_list PREFIX VALUE: the same for paths with commas between them.
take_list() {
    local prefix=$1 rest=$2, here_list='' box_list=''
    while [ -n "$rest" ]; do
        take_word "$prefix" "${rest%%,*}"
        here_list=$here_list,$here_word box_list=$box_list,$box_word
        rest=${rest#*,}
    done
    here_word=${here_list#,} box_word=${box_list#,}
}

# The words of CMD.
take_words() { # CMD...
    local word prefix value tag here_word box_word zoo=''
    if [ $# -gt 0 ] && is_zoo_command "$@"; then zoo=1; fi
    for word; do
        rule=''
        if [ -n "$zoo" ]; then find_rule "$word" "$@"; fi
        prefix=${rule%'*'}
        value=${word#"$prefix"}
        if [ -z "$rule" ] || [ -z "$value" ] || is_no_path "$rule" "$word"; then
            words+=("$word")
            box_words+=("$word")
            continue
        fi
        tag=''
        case $rule in
            'rebuilders=*') take_list "$prefix" "$value" ;;
            'release=oci:*') # FOLDER:TAG
                case $value in *:*) tag=:${value##*:} value=${value%:*} ;; esac
                take_word "$prefix" "$value"
                ;;
            *) take_word "$prefix" "$value" ;;
        esac
        words+=("$prefix$here_word$tag")
        box_words+=("$prefix$box_word$tag")
    done
}

# The variables: absolute from here on. One that is not for CMD is not shown to it.
take_variables() { # CMD...
    local name value
    for name in ${!ZOO_*}; do
        value=${!name}
        find_rule "$name" "$@"
        if [ -z "$rule" ]; then
            [ -z "$row" ] || unset "$name"
            continue
        fi
        [ -n "$value" ] || continue
        case $name:$value in ZOO_MIRROR:[hH][tT][tT][pP]://* | ZOO_MIRROR:[hH][tT][tT][pP][sS]://*) continue ;; esac
        if [ "$access" = write ]; then mkdir -p "$value" || die "$name: cannot make the folder $value"; fi
        take_path "$name" "$value"
        export "$name=$here_path"
        box_paths+=("$name=$box_path")
    done
}
