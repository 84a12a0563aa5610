# shellcheck shell=bash disable=SC2154 # docker/run assigns what is not assigned here
# docker/run, part 2: the image: finds it by its labels, builds it, runs CMD in it.
# Takes: root, here, ca, vela_versions, wants_engine, and what paths.sh gives.
: "${root:?}" "${here:?}" "${vela_versions:?}" "${wants_engine=}"

image=nxp-model-zoo # its one tag is latest, so that `docker save nxp-model-zoo` saves one image
label=nxp-model-zoo
proxies=(http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY)
stage=() # of the Dockerfile: none for what builds and releases

# choose_target CMD...: what tests and checks need is in an image of its own.
choose_target() {
    local word
    for word in pytest ruff mypy check-jsonschema; do
        if has_word "$word" "$@"; then image=nxp-model-zoo-test stage=(--target test); fi
    done
}

# The architecture of the daemon that answers. A daemon far away or half dead must not hang us.
daemon_arch() {
    command -v docker >/dev/null || return 1
    local limit=()
    if command -v timeout >/dev/null; then limit=(timeout 10); fi
    ${limit[@]+"${limit[@]}"} docker version --format '{{.Server.Arch}}' 2>/dev/null
}

# Prints the first client on PATH that builds with BuildKit: buildx, or the one inside Docker 19 to 22.
buildkit_client() {
    local client major
    while read -r client; do
        major=$("$client" version --format '{{.Client.Version}}' 2>/dev/null | cut -d . -f 1) || true
        case $major in 19 | 20 | 21 | 22) echo "$client"; return ;; esac
        if "$client" buildx version >/dev/null 2>&1; then echo "$client"; return; fi
    done < <(hash -r; type -aP docker) # a hashed name hides the others
    die "this Docker client cannot build with BuildKit: install docker-buildx, or use the venv: ZOO_DOCKER=0"
}

# What the build reads of docker/, but for the locks and what makes the environments of Vela and the engine.
context=(Dockerfile compile.py debian.txt entrypoint fetch-debs install-debs install.py make_bom.py pip-env settle)

# The digest of what goes into the image, but for its base.
content_digest() {
    local file locks=(requirements.txt requirements-release.txt requirements-lock.txt) version
    if [ ${#stage[@]} -gt 0 ]; then locks+=(requirements-dev.txt); fi
    for version in $vela_versions; do locks+=("requirements-vela-$version.txt"); done
    if [ -n "$wants_engine" ]; then locks+=(make-engine requirements-engine.txt); fi
    {
        for file in "${context[@]}" make-vela "${locks[@]}"; do echo "$file $(sha256 <"$here/$file")"; done
        echo "${ZOO_PLATFORM:-linux/amd64} $vela_versions ${stage[*]-}"
    } | sha256 | cut -c 1-12
}

default_base() { sed -n 's/^ARG BASE_IMAGE=//p' "$here/Dockerfile"; }

# What names the files of an image: the ChainID of its layers (https://github.com/opencontainers/image-spec, config.md). Its id
# also has the time at which it was built.
chain_id() { # IMAGE
    local id='' layer
    while read -r layer; do
        [ -n "$layer" ] || continue
        if [ -n "$id" ]; then id=sha256:$(printf '%s %s' "$id" "$layer" | sha256); else id=$layer; fi
    done < <(docker image inspect -f '{{range .RootFS.Layers}}{{println .}}{{end}}' "$1" 2>/dev/null)
    echo "$id"
}

# What a base on this machine is, whenever it was made: its layers and what it sets; empty where it is not here, or where its
# name holds its digest.
base_id() { # BASE
    local facts sets='{{json .Env}} {{json .Cmd}} {{json .Entrypoint}} {{json .Labels}} {{json .User}} {{json .WorkingDir}}'
    case $1 in - | *@sha256:*) return ;; esac
    facts=$(docker image inspect -f "{{json .RootFS.Layers}} {{with .Config}}$sets{{end}}" "$1" 2>/dev/null) || return 0
    [ -z "$facts" ] || sha256 <<<"$facts"
}

# Our images, the newest first, a line each: id, what the base was, name of the base; - is none.
# By name too: an image that somebody made from ours has its labels.
images_of() { # [CONTENT]
    local ids
    ids=$(docker image ls -q --no-trunc --filter "label=$label.content${1:+=$1}" \
        --filter "reference=$image" --filter "reference=$image-build")
    [ -n "$ids" ] || return 0
    # shellcheck disable=SC2086 # words
    docker image inspect -f "{{.Id}} {{or (index .Config.Labels \"$label.base.content\") \"-\"}} \
{{or (index .Config.Labels \"org.opencontainers.image.base.name\") \"-\"}}" $ids
}

# choose_image CONTENT: sets base, and image_id where an image of that content and base is here.
# An image remembers its base: BASE_IMAGE is needed to make it, not to find it again.
choose_image() {
    local found id made_of name current
    found=$(images_of "$1")
    image_id=''
    base=${BASE_IMAGE:-$(default_base)}
    if [ -z "${BASE_IMAGE-}" ] && [ -z "$found" ]; then
        name=$(head -n 1 <<<"$(images_of)" | cut -d ' ' -f 3)
        # One with a digest in its name was the default of a Dockerfile: this one may name a newer one.
        if [ "${name:-$base}" != "$base" ] && [ -n "$(base_id "$name")" ]; then
            base=$name
            say "the base is $base, as that of the image before -> BASE_IMAGE=NAME for another"
        fi
    elif [ -z "${BASE_IMAGE-}" ] && ! cut -d ' ' -f 3 <<<"$found" | grep -qxF "$base"; then
        base=$(head -n 1 <<<"$found" | cut -d ' ' -f 3)
    fi
    current=$(base_id "$base")
    while read -r id made_of name; do
        [ "$name" = "$base" ] || continue
        # A base with the same name that is another image by now counts as another.
        if [ -z "$current" ] || [ "$made_of" = "$current" ]; then
            image_id=$id
            return
        fi
    done <<<"$found"
}

# What a failed build's output points at.
explain_build() { # LOG
    local registry='failed to do request|failed to authorize|pull access denied|failed to resolve source metadata'
    local network='network bridge not found|Temporary failure (resolving|in name resolution)|Could not resolve|Network is unreachable'
    registry="$registry|failed to fetch .*token|toomanyrequests"
    network="$network|Failed to establish a new connection|NameResolutionError"
    if grep -Eq "$registry" "$1"; then
        echo "the base $base cannot be pulled -> sudo docker/make-base, then BASE_IMAGE=nxp-model-zoo-base:bookworm docker/run ..."
    elif grep -Eqi 'certificate.verify.failed' "$1"; then
        echo "a TLS certificate is not trusted -> ZOO_CA=/path/to/ca.pem docker/run ..."
    elif grep -Eq "$network" "$1"; then
        echo "the build has no network -> ZOO_DOCKER_BUILD_ARGS=\"--network host\" docker/run ..., or set https_proxy"
    else
        echo "see above -> ZOO_DOCKER=0 docker/run ... works without Docker"
    fi
}

# Sets conf to the file that pip reads for this user; empty where there is none.
find_pip_conf() {
    for conf in "${PIP_CONFIG_FILE-}" "${XDG_CONFIG_HOME:-${HOME-}/.config}/pip/pip.conf" "${HOME-}/.pip/pip.conf" \
        "${HOME-}/Library/Application Support/pip/pip.conf" /etc/pip.conf; do
        [ -f "$conf" ] || continue
        conf=$(physical "$conf")
        return
    done
    conf=''
}

# make_context FOLDER [COMMIT]: what the build reads, of the checkout or of a commit, and the packages that the mirror has.
make_context() {
    local sha256 name place missing=0
    mkdir -p "$1/docker"
    if [ $# -gt 1 ]; then
        git -C "$root" archive "$2" .dockerignore docker | tar -xf - -C "$1"
    else
        cp "$root/.dockerignore" "$1/"
        cp -R "$here/." "$1/docker/"
    fi
    [ -f "${ZOO_MIRROR:+$ZOO_MIRROR/INDEX.tsv}" ] || return 0
    mkdir -p "$1/docker/debs" "$1/docker/wheels"
    while IFS=$'\t' read -r sha256 _ name _; do
        case $sha256$name in *[!A-Za-z0-9._+~%-]*) continue ;; esac
        case $name in
            .*) continue ;;
            *.deb) place=$1/docker/debs/$name ;;
            *.whl) place=$1/docker/wheels/$name ;;
            *) continue ;;
        esac
        [ -f "$ZOO_MIRROR/$sha256" ] || { missing=$((missing + 1)); continue; }
        ln "$ZOO_MIRROR/$sha256" "$place" 2>/dev/null || cp "$ZOO_MIRROR/$sha256" "$place"
    done <"$ZOO_MIRROR/INDEX.tsv"
    if [ "$missing" -gt 0 ]; then
        say "ZOO_MIRROR lacks $missing packages that its INDEX.tsv names; the build asks the network -> doit mirror to=... image=1"
    fi
}

# build_image TAG CONTENT [COMMIT]: of the checkout, or of a commit without the cache.
build_image() {
    local client secrets=() more=() conf name current
    client=$(buildkit_client)
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT # global: the trap outlives the function
    make_context "$tmp/context" "${@:3}"
    [ -z "$ca" ] || secrets+=(--secret "id=ca,src=$ca")
    if [ -n "${PIP_INDEX_URL-}" ]; then
        printf '[global]\nindex-url = %s\nextra-index-url = %s\n' \
            "$PIP_INDEX_URL" "${PIP_EXTRA_INDEX_URL-}" >"$tmp/pip.conf"
        secrets+=(--secret "id=pip_conf,src=$tmp/pip.conf")
    else
        find_pip_conf
        if [ -n "$conf" ]; then secrets+=(--secret "id=pip_conf,src=$conf"); fi
    fi
    for name in "${proxies[@]}"; do
        [ -z "${!name-}" ] || more+=(--build-arg "$name") # the value stays out of the process list, and of the image
    done
    for name in DEBIAN_MIRROR DEBIAN_SECURITY_MIRROR DEBIAN_SNAPSHOT; do
        [ -z "${!name-}" ] || more+=(--build-arg "$name")
    done
    current=$(base_id "$base")
    if [ $# -gt 2 ]; then more+=(--no-cache); fi
    if [ -n "$rebuild" ]; then
        more+=(--no-cache)
        # A base that was made here is in no registry.
        if [ -z "$current" ] || [ "$(docker image inspect -f '{{len .RepoDigests}}' "$base")" != 0 ]; then more+=(--pull); fi
    fi
    say "building $1 (some minutes, 2 GB)"
    # SOURCE_DATE_EPOCH: newer versions of BuildKit take it for the times in the image's configuration.
    # shellcheck disable=SC2086 # words
    DOCKER_BUILDKIT=1 "$client" build --progress plain -t "$1" --build-arg "BASE_IMAGE=$base" \
        --build-arg "REQUIREMENTS_SHA256=$(sha256 <"$here/requirements.txt")" --build-arg "VELA=$vela_versions" \
        --build-arg "ENGINE=$wants_engine" \
        --build-arg "SOURCE_DATE_EPOCH=$(sed -n 's/^# SOURCE_DATE_EPOCH //p' "$tmp/context/docker/debian.txt" 2>/dev/null)" \
        --label "$label.content=$2" --label "$label.base.content=$current" ${stage[@]+"${stage[@]}"} \
        ${platform[@]+"${platform[@]}"} ${secrets[@]+"${secrets[@]}"} ${more[@]+"${more[@]}"} \
        ${ZOO_DOCKER_BUILD_ARGS-} -f "$tmp/context/docker/Dockerfile" "$tmp/context" 2>&1 | tee "$tmp/log" >&2 ||
        die "docker build failed: $(explain_build "$tmp/log")"
    rm -rf "$tmp" # exec skips the trap
    image_id=$(docker image inspect -f '{{.Id}}' "$1")
}

# Sets platform, content, base and image_id, and builds the image where it is missing.
find_image() { # ARCH CMD...
    if [ -n "${ZOO_PLATFORM-}" ]; then
        platform=(--platform "$ZOO_PLATFORM")
    elif [ "$1" != amd64 ]; then
        platform=(--platform linux/amd64)
    fi
    choose_target "${@:2}"
    content=$(content_digest)
    choose_image "$content"
    if [ -z "$image_id" ] || [ -n "$rebuild" ]; then
        build_image "$image-build:$(echo "$content $base $(base_id "$base")" | sha256 | cut -c 1-12)" "$content"
    fi
    docker tag "$image_id" "$image:latest"
}

# bind SOURCE TARGET [readonly]: the words of a mount; a name may hold commas and quotes.
bind() {
    local source=${1//\"/\"\"} target=${2//\"/\"\"}
    args+=(--mount "type=bind,\"source=$source\",\"target=$target\"${3:+,$3}")
}

# mount_path ACCESS SOURCE TARGET: once a target; what is written to is mounted first.
mount_path() {
    local target
    for target in ${targets[@]+"${targets[@]}"}; do [ "$target" != "$3" ] || return 0; done
    targets+=("$3")
    if [ "$1" = read ]; then bind "$2" "$3" readonly; return; fi
    if [ ! -d "$2" ]; then
        # A dry run makes nothing, and finds nothing there.
        for target in "${box_words[@]}"; do [[ $target != dry_run=?* || $target = dry_run=0 ]] || return 0; done
        mkdir -p "$2" 2>/dev/null || die "cannot make the folder $2 -> make it, or name another one"
    fi
    bind "$2" "$3"
}

# Whether `docker login` keeps what it knows with a program of this machine.
names_helper() { # CONFIG.JSON
    tr -d '[:space:]' <"$1" | grep -Eq '"credsStore":"[^"]|"credHelpers":\{"'
}

run_in_docker() { # ARCH
    local content name value access i conf platform=() args=() targets=() base image_id
    find_image "$1" ${box_words[@]+"${box_words[@]}"}
    [ ${#box_words[@]} -gt 0 ] || exit 0 # --rebuild, and no CMD

    args=(--rm -i)
    bind "$root" /workspace
    if [ -t 0 ] && [ -t 1 ]; then
        args+=(-t)
        for name in TERM NO_COLOR; do # how to draw there
            [ -z "${!name-}" ] || args+=(-e "$name")
        done
    fi
    for access in write read; do
        for ((i = 0; i < ${#mounts[@]}; i += 3)); do
            [ "${mounts[i]}" != "$access" ] || mount_path "${mounts[@]:i:3}"
        done
    done
    for name in ${!ZOO_*}; do
        case $name in
            ZOO_DOCKER* | ZOO_PLATFORM | ZOO_PYTHON | ZOO_VELA | ZOO_CA) continue ;;
            ZOO_STEPS | ZOO_STEPS_TOKEN) args+=(-e "$name"); continue ;; # a password stays out of the process list
        esac
        args+=(-e "$name=${!name}")
    done
    for value in ${box_paths[@]+"${box_paths[@]}"}; do args+=(-e "$value"); done # the last one counts
    for value in ${notes[@]+"${notes[@]}"}; do say "$value"; done
    # A release says of what files the image was that made it; the entrypoint's messages name the checkout as the caller
    # knows it.
    args+=(-e "NXP_MODEL_ZOO_IMAGE=$(chain_id "$image_id")" -e "NXP_MODEL_ZOO_CHECKOUT=$root")
    # What a release is published with, only that command gets to see.
    if has_word publish "${box_words[@]}"; then
        for name in HF_TOKEN HF_ENDPOINT; do
            [ -z "${!name-}" ] || args+=(-e "$name")
        done
        value=${HF_TOKEN_PATH:-${HF_HOME:-${XDG_CACHE_HOME:-${HOME-}/.cache}/huggingface}/token}
        if [ -z "${HF_TOKEN-}" ] && value=$(physical "$value") && [ -f "$value" ]; then # of `hf auth login`
            bind "$value" /mnt/hf-token readonly
            args+=(-e HF_TOKEN_PATH=/mnt/hf-token)
        fi
        value=${DOCKER_CONFIG:-${HOME-}/.docker}/config.json
        if [ -f "$value" ]; then
            value=$(physical "$value")
            bind "$value" /tmp/.docker/config.json readonly
            if [[ " ${box_words[*]}" = *" to=oci://"* ]] && names_helper "$value"; then
                say "the container has no credential helper, and $value names one -> ZOO_DOCKER=0 docker/run ..."
            fi
        fi
    fi
    # The image has no npm to say where the runtime of a site comes from.
    if has_word catalogue "${box_words[@]}" || has_word mirror "${box_words[@]}" || has_word release "${box_words[@]}"; then
        value=''
        if [ -z "${ZOO_NPM-}" ] && command -v npm >/dev/null; then value=$(npm config get registry 2>/dev/null) || true; fi
        case $value in http://* | https://*) args+=(-e "ZOO_NPM=$value") ;; esac
    fi
    # The packages of the image come from where its build takes them.
    if has_word mirror "${box_words[@]}" && has_word image=1 "${box_words[@]}"; then
        for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL; do
            [ -z "${!name-}" ] || args+=(-e "$name")
        done
        find_pip_conf
        if [ -n "$conf" ]; then
            bind "$conf" /mnt/pip.conf readonly
            args+=(-e PIP_CONFIG_FILE=/mnt/pip.conf)
        fi
        if [ -n "$ca" ]; then args+=(-e PIP_CERT=/mnt/ca.pem); fi
    fi
    # A site that is served for looking answers on 127.0.0.1 alone: that of this machine, not the container's own. And
    # the machines of a cluster have to reach each other.
    if { has_word catalogue "${box_words[@]}" && [[ " ${box_words[*]}" = *" serve="* ]]; } ||
        has_word worker "${box_words[@]}" || has_word scheduler "${box_words[@]}"; then
        [[ " ${ZOO_DOCKER_ARGS-}" = *" --net"* ]] || args+=(--network host)
    fi
    for name in "${proxies[@]}"; do
        [ -z "${!name-}" ] || args+=(-e "$name")
    done
    if [ -n "$ca" ]; then
        bind "$ca" /mnt/ca.pem readonly
        args+=(-e REQUESTS_CA_BUNDLE=/mnt/ca.pem -e SSL_CERT_FILE=/mnt/ca.pem)
    fi
    # shellcheck disable=SC2086 # words
    exec docker run "${args[@]}" ${platform[@]+"${platform[@]}"} ${ZOO_DOCKER_ARGS-} "$image_id" "${box_words[@]}"
}
