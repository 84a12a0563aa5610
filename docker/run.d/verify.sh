# shellcheck shell=bash disable=SC2154 # docker/run assigns what is not assigned here
# docker/run, part 4: `doit verify image=1`: builds the image again from the commit, without the cache, and compares.
# Takes: root, here, and what image.sh gives.
: "${root:?}" "${here:?}"

# What differs may be much: so many files are named.
shown_files=20

verify_image() { # ARCH
    local content commit again='' first second image_id platform=() status=0 word
    for word in "${words[@]}"; do
        case $word in doit | verify | image=1) ;; *) die "verify image=1 takes no other word, and '$word' is one" ;; esac
    done
    command -v git >/dev/null || die "verify image=1 builds a commit, and git is missing -> install git"
    commit=$(git -C "$root" rev-parse --verify -q HEAD) || die "verify image=1 builds a commit -> make a git clone"
    if [ -n "$(git -C "$root" status --porcelain -- docker .dockerignore)" ]; then
        die "docker/ has changes that are not committed, and verify image=1 builds the commit -> commit or stash them"
    fi
    find_image "$1" doit
    first=$image_id again=$image-verify:$content
    build_image "$again" "$content" "$commit"
    second=$image_id
    # shellcheck disable=SC2064 # the name as it is now
    trap "docker rmi '$again' >/dev/null 2>&1 || true; rm -rf \"\${tmp-}\"" EXIT
    compare_images "$first" "$second" || status=$?
    exit "$status"
}

layers() { docker image inspect -f '{{range .RootFS.Layers}}{{println .}}{{end}}' "$1" | sed '/^$/d'; }

list_files() { # IMAGE
    docker run --rm -i --network none --entrypoint python3 ${platform[@]+"${platform[@]}"} "$1" -I - <"$here/list_files.py"
}

compare_images() { # IMAGE IMAGE
    local count
    count=$(layers "$1" | wc -l)
    if [ "$(chain_id "$1")" = "$(chain_id "$2")" ]; then
        echo "image: identical, $((count)) layers, built again from ${commit:0:12} without the cache"
        if [ "$1" = "$2" ]; then
            echo "  digest: $1, of both"
        else
            echo "  digests: $1 and $2: this BuildKit writes the time of the build into the image's configuration"
        fi
        return
    fi
    tmp=$(mktemp -d) # verify_image's trap removes it
    echo "image: $(comm -12 <(layers "$1" | sort) <(layers "$2" | sort) | wc -l) of $((count)) layers are the same"
    list_files "$1" >"$tmp/first"
    list_files "$2" >"$tmp/second"
    awk -F '\t' -v most="$shown_files" '
        NR == FNR { line[$1] = $0; next }
        {
            seen[$1] = 1
            if (!($1 in line)) { say($1, "only in the new one"); next }
            if (line[$1] == $0) next
            split(line[$1], old, "\t")
            what = ""
            if (old[6] != $6 || old[5] != $5) what = what ", content"
            if (old[4] != $4) what = what ", time"
            if (old[2] != $2) what = what ", mode"
            if (old[3] != $3) what = what ", owner"
            say($1, substr(what, 3))
        }
        END {
            for (path in line) if (!(path in seen)) say(path, "only in the old one")
            if (count > most) print "  and " count - most " more"
            if (!count) print "  no file: what one layer removes from another, and when"
        }
        function say(path, what) { count++; if (count <= most) print "  " path ": " what }' "$tmp/first" "$tmp/second"
    say "the image is not what ${commit:0:12} builds -> docker/run --rebuild makes it again; if the two still differ, report it"
    return 10
}
