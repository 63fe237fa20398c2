# Sourced by scripts/nightrig and scripts/test, which set `here` to the folder of this file.
#
# prepare VENV EXTRAS [OPTION...]: leaves a ready virtual environment at $venv ($root/VENV) with the
# project and these extras in it, or ends the script with one line that says why. Says what it does on
# stderr and leaves stdout alone. Nothing needs doing on most starts: that is decided here, in a few
# milliseconds, by the stamp that _bootstrap.py writes last; the work itself is in _bootstrap.py.
#
# NIGHTRIG_PYTHON chooses the Python of the environment: a command, a path or a version such as 3.10
# (fetched with uv where the machine has none). Unset, the environment stays on the one it has.

root=$(dirname -- "$here")

say() {
    printf 'nightrig: %s\n' "$*" >&2
}

prepare() {
    venv=$root/$1
    extras=$2
    shift 2
    recipe=$(cat "$root/pyproject.toml" "$here/_bootstrap.py" "$root/capture/_system.py" \
        "$root"/*/*/native/*.[ch] | cksum) || exit 1
    fingerprint="$recipe $extras $* $root"
    if [ -z "${NIGHTRIG_PYTHON-}" ] && is_ready; then
        return
    fi
    find_python
    "$python" "$here/_bootstrap.py" --venv "$venv" --extras "$extras" --fingerprint "$fingerprint" "$@" >&2 ||
        exit $?
}

# The stamp has three lines: what was installed, the interpreter it was installed for (a new release of
# the system swaps it under the environment), and whether the system lacked anything.
is_ready() {
    [ -r "$venv/nightrig-stamp" ] || return 1
    {
        IFS= read -r was_fingerprint
        IFS= read -r was_python
        IFS= read -r was_state
    } <"$venv/nightrig-stamp"
    [ "$was_fingerprint" = "$fingerprint" ] && [ "$was_state" = complete ] &&
        [ "$was_python" = "$(readlink -f -- "$venv/bin/python")" ] && [ -x "$was_python" ]
}

# Any supported Python can run _bootstrap.py, which then picks the one for the environment.
find_python() {
    for python in "${NIGHTRIG_PYTHON-}" python3 python3.13 python3.12 python3.11 python3.10; do
        if [ -n "$python" ] && "$python" -c '
import sys
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then
            return
        fi
    done
    found=$(python3 -c 'import sys; print("python3 is %d.%d" % sys.version_info[:2])' 2>/dev/null) ||
        found='there is no python3'
    [ "$(id -u)" -eq 0 ] && sudo='' || sudo='sudo '
    say "needs Python 3.10 to 3.13, and $found: ${sudo}apt-get install -y python3 python3-venv" \
        "(Debian 12 or newer), or set NIGHTRIG_PYTHON to one"
    exit 1
}
