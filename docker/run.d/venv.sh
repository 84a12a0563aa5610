# shellcheck shell=bash disable=SC2154 # docker/run assigns what is not assigned here
# docker/run, part 3: the venv. Each has a folder named by the digest of what it is made from, and so have each Vela and
# the engine; build/venv, build/vela/VERSION and build/engine are links to the current ones. A new one never changes one
# that a build uses.
# Takes: root, here, ca, vela_versions, default_vela, wants_engine, words.
: "${root:?}" "${here:?}" "${vela_versions:?}" "${default_vela:?}" "${wants_engine=}"

build=$root/build

python_version() { "$1" -I -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }

# Prints the interpreter for a new venv.
find_python() {
    local python version seen=
    for python in ${ZOO_PYTHON:-python3.11 python3.12 python3.13 python3}; do
        version=$(python_version "$python") || continue
        case $version in
            3.11.* | 3.12.* | 3.13.*) ;;
            *) seen="$seen; $python is $version"; continue ;;
        esac
        if ! "$python" -I -c 'import venv, ensurepip' 2>/dev/null; then
            seen="$seen; $python has no venv: apt-get install python3-venv"
            continue
        fi
        echo "$python"
        return
    done
    die "needs Docker, or Python 3.11, 3.12 or 3.13 with venv${seen:-"; found none"}"
}

# stamp VERSION-OF-PYTHON FILE...: what a folder is made from. A venv knows its own path: a moved or copied one is no good.
stamp() { echo "$(cat "${@:2}" | sha256) $1 $root"; }
stamp_of_venv() { stamp "$1" "$here"/requirements{,-release,-dev}.txt; }
stamp_of_vela() { stamp "$1" "$here/requirements-vela-$2.txt" "$here/make-vela"; } # VERSION-OF-PYTHON VERSION
stamp_of_engine() { stamp "$1" "$here/requirements-engine.txt" "$here/make-engine"; }
folder_of() { echo "$build/$1-$(sha256 <<<"$2" | cut -c 1-12)"; } # NAME STAMP

# The stamp is written last: a folder without it is half made, and nothing uses it.
is_whole() { [ "$(cat "$1/stamp" 2>/dev/null)" = "$2" ]; } # FOLDER STAMP

# find_venv PYTHON: sets venv and venv_stamp, those that PYTHON makes of the locks; fails where venv is not whole.
find_venv() {
    python_now=$(python_version "$1") || return 1
    venv_stamp=$(stamp_of_venv "$python_now")
    venv=$build/venv
    if [ ! -L "$venv" ] && is_whole "$venv" "$venv_stamp"; then return; fi # a folder that an older docker/run made
    venv=$(folder_of venv "$venv_stamp")
    is_whole "$venv" "$venv_stamp"
}

# find_vela VERSION: sets vela and vela_stamp, for the Python of find_venv; fails where vela is not whole and current.
find_vela() {
    vela_stamp=$(stamp_of_vela "$python_now" "$1")
    vela=$build/vela/$1
    if [ ! -L "$vela" ] && is_whole "$vela" "$vela_stamp"; then return; fi
    vela=$(folder_of "vela-$1" "$vela_stamp")
    is_whole "$vela" "$vela_stamp" && [ "$build/vela/$1" -ef "$vela" ]
}

# find_engine: sets engine and engine_stamp, for the Python of find_venv; fails where engine is not whole and current.
find_engine() {
    engine_stamp=$(stamp_of_engine "$python_now")
    engine=$(folder_of engine "$engine_stamp")
    is_whole "$engine" "$engine_stamp" && [ "$build/engine" -ef "$engine" ]
}

# Whether all is here; the interpreter is ZOO_PYTHON, or whatever the current venv was made of.
venv_ready() {
    local version
    find_venv "${ZOO_PYTHON:-$build/venv/bin/python}" || return 1
    [ "$build/venv" -ef "$venv" ] || is_folder "$build/venv" || return 1
    for version in $vela_versions; do
        find_vela "$version" || return 1
    done
    [ -z "$wants_engine" ] || find_engine || return 1
    [ "$venv/bin/vela" -ef "$build/vela/$default_vela/bin/vela" ]
}

is_folder() { [ -d "$1" ] && [ ! -L "$1" ]; } # and no link

# replace_link TARGET LINK: in one step, for a build may be looking.
replace_link() {
    "$venv/bin/python" -I -c 'import os, sys
target, link = sys.argv[1:]
new = f"{link}.{os.getpid()}"
os.symlink(target, new)
os.replace(new, link)' "$1" "$2"
}

# Runs what installs: with its progress bars for a person, else into a log that is shown when it fails.
run_install() { # NAME CMD...
    local log=$build/$1.log
    shift
    if [ -t 2 ] && [ "$log" = "$build/venv.log" ]; then
        "$@" >&2
    else
        "$@" >"$log" 2>&1 || { grep -v '^WARNING' "$log" >&2 || true; return 1; }
    fi
}

no_set_up() { # WHAT
    die "could not set up $1 (see above) -> no network, or a private one? PIP_INDEX_URL, https_proxy and ZOO_CA: docker/run --help"
}

# Sets tools, the folder of the uv that installs. It is the same for every Python and every path.
make_tools() { # PYTHON
    local stamp
    stamp="$(sha256 <"$here/requirements-lock.txt") $(uname -sm)"
    tools=$(folder_of uv "$stamp")
    if is_whole "$tools" "$stamp"; then return; fi
    rm -rf "$tools"
    run_install uv "$1" -I "$here/install.py" "$tools" || no_set_up "${tools#"$root"/}"
    echo "$stamp" >"$tools/stamp"
}

# Python compiles what it imports: half of the time would be for what nobody does.
fill_venv() {
    run_install venv "$python" -I "$here/install.py" "$tools" "$venv/bin/python" --only-binary ":all:" \
        -r "$here/requirements.txt" -r "$here/requirements-release.txt" -r "$here/requirements-dev.txt" || return 1
    sha256 <"$here/requirements.txt" >"$venv/zoo-lock.sha256" # for the manifests
    echo "$venv_stamp" >"$venv/stamp"
}

make_vela() { # VERSION: find_vela has been asked
    if ! is_whole "$vela" "$vela_stamp"; then
        say "setting up build/vela/$1"
        run_install vela "$here/make-vela" "$venv/bin/python" "$tools" "$1" "$vela" || return 1
        echo "$vela_stamp" >"$vela/stamp"
    fi
    # One that an older docker/run made moves aside.
    if is_folder "$build/vela/$1"; then mv "$build/vela/$1" "$build/vela-$1-old.$$"; fi
    replace_link "../${vela##*/}" "$build/vela/$1"
}

make_engine() { # find_engine has been asked
    if ! is_whole "$engine" "$engine_stamp"; then
        say "setting up build/engine"
        run_install engine "$here/make-engine" "$venv/bin/python" "$tools" "$engine" || return 1
        echo "$engine_stamp" >"$engine/stamp"
    fi
    replace_link "${engine##*/}" "$build/engine"
}

make_venv() {
    local python version filling='' failed=''
    [ -z "$ca" ] || export PIP_CERT="$ca"
    # The current venv's Python goes on being used, where it is still the one that it was made of.
    python=${ZOO_PYTHON:-$build/venv/bin/python}
    find_venv "$python" || python=$(find_python)
    make_tools "$python"
    if ! find_venv "$python"; then
        say "setting up build/venv with Python $python_now (about half a minute, 2 GB)"
        rm -rf "$venv"
        "$python" -m venv --without-pip "$venv"
        fill_venv & # Vela has packages of its own: side by side
        filling=$!
    fi
    mkdir -p "$build/vela"
    for version in $vela_versions; do
        find_vela "$version" || make_vela "$version" || { failed=build/vela/$version; break; }
    done
    if [ -n "$wants_engine" ] && [ -z "$failed" ] && ! find_engine; then
        make_engine || failed=build/engine
    fi
    if [ -n "$filling" ] && ! wait "$filling"; then failed=build/venv; fi
    [ -z "$failed" ] || no_set_up "$failed"
    find_vela "$default_vela"
    replace_link "../../${vela#"$build"/}/bin/vela" "$venv/bin/vela"
    previous=$(cd "$build/venv" 2>/dev/null && pwd -P) || previous=$venv
    if [ "$build/venv" -ef "$venv" ]; then return; fi
    if is_folder "$build/venv"; then
        say "build/venv is left of an older docker/run -> when no build uses it: rm -r build/venv"
    else
        replace_link "${venv##*/}" "$build/venv"
    fi
}

# Removes all but the current venv, the one before it, the current uv, and the Velas and the engine that a link leads to,
# and only while no docker/run of this checkout uses any: each holds file 8, in which the lock is a shared one.
remove_unused() {
    local folder link used
    flock -n -x 8 || { flock -s 8; return 0; }
    for folder in "$build"/{venv,vela,uv,engine}-*; do
        used=''
        for link in "$venv" "$previous" "$tools" "$build"/vela/* "$build/engine"; do
            if [ "$folder" -ef "$link" ]; then used=1; fi
        done
        if [ -d "$folder" ] && [ -z "$used" ]; then rm -rf "$folder"; fi
    done
    flock -s 8
}

run_in_venv() { # WHY
    case $root in *:*) die "no venv can be in a path with a colon: $root -> move the checkout, or use Docker" ;; esac
    # What the caller's Python sees must not leak in.
    unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_USER
    export PYTHONNOUSERSITE=1
    mkdir -p "$build"
    exec 8>"$build/venv.used" # CMD and its children hold it
    if command -v flock >/dev/null; then flock -s 8; fi
    if ! venv_ready; then
        ( # the lock ends with the subshell: CMD must not hold it
            exec 9>"$build/venv.lock"
            if command -v flock >/dev/null && ! flock -n 9; then
                say "waiting for another docker/run that is setting up build/venv"
                flock 9
            fi
            if ! venv_ready; then
                make_venv
                if command -v flock >/dev/null; then remove_unused; fi
            fi
        )
        find_venv "${ZOO_PYTHON:-$build/venv/bin/python}" || die "build/venv changed meanwhile -> run the command again"
    fi
    say "$1: using build/venv (same lock, Python $python_now)"
    [ -z "${ZOO_CA-}" ] || export REQUESTS_CA_BUNDLE="$ca" SSL_CERT_FILE="$ca"
    export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
    cd "$root" || exit
    start_ours
    type -P -- "${words[0]}" >/dev/null || {
        say "'${words[0]}' is no program, and no task -> docker/run doit list shows the tasks"
        exit 127
    }
    exec "${words[@]}"
}
