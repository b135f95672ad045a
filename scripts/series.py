#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Turn this sparse tree and the edits under series/ into a kernel, or into patches.

usage: series.py assemble BASE OUT    make the patched tree from BASE and our files
       series.py format BASE OUT      write the numbered patches and a cover letter
       series.py branch BASE OUT      commit the patches to a repository of BASE
       series.py check BASE TREE OUT  git am on BASE gives TREE; build and checkpatch each
       series.py owners TREE          check that MAINTAINERS covers all of our files

A step is a folder series/NN-name.  Steps are applied in order.  A step has
  message   the commit message: subject, empty line, body
  files     glob patterns of our files that this step adds, one per line
  *.cocci   semantic patches; each rule must apply to each of the files that a
            comment names: // files: mm/a.c mm/b.c
  *.patch   unified diffs (-p1), for changes that Coccinelle cannot express
  remove    files of the base to remove, one path per line
MAINTAINERS here has the lines that a patch adds to sections of the base's file.

The repository has the final files, which can be read, checked and built as they are, and
applies to any 7.3.y.  b4 and quilt keep the differences to one base instead.
"""

import fcntl
import fnmatch
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SELFTESTS = "tools/testing/selftests/mm"
BENCH = "tools/testing/migrate/bench"
OVERLAY = ("mm", "include", "lib", "tools", "Documentation")


class Failure(Exception):
    """An error. The message is a sentence for the user."""


def say(*words):
    if not os.environ.get("QUIET"):
        print(*words, file=sys.stderr, flush=True)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data, mode=0o644):
    """Replace PATH with a new file. PATH may be a hard link to the base's file."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    tmp = path + ".new"
    with open(tmp, "wb") as f:
        f.write(data)
    os.chmod(tmp, mode)
    os.replace(tmp, path)


def lines_of(path):
    if not os.path.exists(path):
        return []
    text = read(path).decode()
    return [ln.strip() for ln in text.splitlines() if ln.strip() and not ln.startswith("#")]


def overlay_files():
    """Return the paths of our files that are added to the base, sorted."""
    git = subprocess.run(["git", "-C", TOP, "ls-files", "-co", "--exclude-standard", "--",
                          *OVERLAY], capture_output=True, text=True)
    if git.returncode == 0:
        found = [p for p in git.stdout.splitlines() if os.path.isfile(os.path.join(TOP, p))]
    else:
        found = [os.path.relpath(os.path.join(d, f), TOP)
                 for top in OVERLAY for d, _, names in os.walk(os.path.join(TOP, top))
                 for f in names]
    return sorted(set(found))


class Step:
    """One patch of the series."""

    def __init__(self, name):
        self.name = name
        self.dir = os.path.join(TOP, "series", name)
        self.patterns = lines_of(os.path.join(self.dir, "files"))
        self.removed = lines_of(os.path.join(self.dir, "remove"))
        inside = sorted(os.listdir(self.dir))
        self.cocci = [f for f in inside if f.endswith(".cocci")]
        self.patches = [f for f in inside if f.endswith(".patch")]

    def message(self):
        path = os.path.join(self.dir, "message")
        if not os.path.exists(path):
            raise Failure(f"series/{self.name} has no message")
        return read(path).decode()

    def takes(self, path):
        return any(fnmatch.fnmatch(path, p) for p in self.patterns)

    def cocci_targets(self, script):
        text = read(os.path.join(self.dir, script)).decode()
        match = re.search(r"^// files: (.+)", text, re.M)
        if not match:
            raise Failure(f"series/{self.name}/{script}: no line '// files: ...'")
        return match.group(1).split()

    def patch_targets(self, patch):
        text = read(os.path.join(self.dir, patch)).decode()
        return [p for p in re.findall(r"^--- a/(\S+)", text, re.M)]

    def targets(self):
        """Return the files of the base that this step edits."""
        found = [t for c in self.cocci for t in self.cocci_targets(c)]
        found += [t for p in self.patches for t in self.patch_targets(p)]
        return sorted(set(found))


def count_word(text, word):
    return len(re.findall(rb"\b%s\b" % word.encode(), text))


class Rule:
    """A rule of a semantic patch, and the words of which it removes some."""

    def __init__(self, line, text):
        self.line = line
        self.text = text
        _, variables, body = re.split(r"^@.*@\n", text, maxsplit=2, flags=re.M)
        sets = dict(re.findall(r"(\w+) = \{([^}]*)\}", variables))
        free = set(re.findall(r"(\w+)\s*(?:[,;]|=)", re.sub(r"\{[^}]*\}", "", variables)))
        minus, plus = (set(re.findall(r"\w+", " ".join(re.findall(rf"^\{sign}(.*)", body, re.M))))
                       for sign in "-+")
        members = {m for name in minus & set(sets) for m in re.findall(r"\w+", sets[name])}
        self.removes = sorted((minus - free | members) - plus)


def cocci_rules(text):
    """Split a semantic patch. A rule begins with the first of two lines with @."""
    lines = text.splitlines(keepends=True)
    options = [ln for ln in lines if ln.startswith("#spatch")]
    starts = [i for i, ln in enumerate(lines) if ln.startswith("@")][::2]
    return [Rule(at + 1, "".join(options + lines[at:end]))
            for at, end in zip(starts, starts[1:] + [len(lines)])]


def hunks(patch):
    """Return the file, first line and replaced text of each hunk of a patch."""
    found, path, hunk, left, old = [], "", "", 0, []
    for line in patch.splitlines(keepends=True):
        head = re.match(rb"(@@ -\d+(?:,(\d+))? \+\d+(?:,\d+)? @@)", line)
        if left:
            if line[:1] in b" -\n":
                old.append(line[1:] or line)
                left -= 1
            if not left:
                found.append((path, hunk, b"".join(old)))
        elif head:
            hunk, left, old = head.group(1).decode(), int(head.group(2) or 1), []
            if not left:
                found.append((path, hunk, b""))
        elif line.startswith(b"--- a/"):
            path = line[6:].split()[0].decode()
    return found


def steps():
    root = os.path.join(TOP, "series")
    names = sorted(n for n in os.listdir(root) if re.match(r"\d\d-", n))
    return [Step(n) for n in names]


class Edits:
    """The base's files with the changes of the steps, in memory.

    Only spatch and patch need files.
    """

    def __init__(self, base):
        self.base = base
        self.now = {}

    def get(self, path):
        if path not in self.now:
            full = os.path.join(self.base, path)
            if not os.path.isfile(full):
                raise Failure(f"the base has no {path}, which the series edits")
            self.now[path] = read(full)
        return self.now[path]

    def apply(self, step, ours):
        """Apply a step; return the paths that it changes."""
        changed = set(step.targets())
        with tempfile.TemporaryDirectory(prefix="series-") as scratch:
            for path in step.targets():
                write(os.path.join(scratch, path), self.get(path))
            for script in step.cocci:
                self.run_cocci(step, script, scratch)
            for patch in step.patches:
                self.run_patch(step, patch, scratch)
            for path in step.targets():
                self.now[path] = read(os.path.join(scratch, path))
        for path in step.removed:
            self.get(path)
            self.now[path] = None
            changed.add(path)
        for path in ours:
            if step.takes(path):
                self.now[path] = read(os.path.join(TOP, path))
                changed.add(path)
        return changed

    def run_cocci(self, step, script, scratch):
        """Run spatch for each rule alone: it succeeds if any rule applies."""
        text = read(os.path.join(step.dir, script)).decode()
        for path in step.cocci_targets(script):
            for rule in cocci_rules(text):
                self.run_rule(f"series/{step.name}/{script}", rule, path, scratch)

    def run_rule(self, script, rule, path, scratch):
        full = os.path.join(scratch, path)
        sp_file = os.path.join(scratch, "rule.cocci")
        before = read(full)
        write(sp_file, rule.text.encode())
        done = subprocess.run(["spatch", "--very-quiet", "--no-includes", "--in-place",
                               "--sp-file", sp_file, full], capture_output=True, text=True)
        after = read(full)
        left = [n for n in rule.removes if count_word(after, n) >= count_word(before, n)]
        if done.returncode or after == before or left:
            names = f", where it leaves {', '.join(left)}" if left else ""
            raise Failure(f"{script}, the rule in line {rule.line}, no longer applies to "
                          f"{path}{names}\n" + done.stderr[-2000:])

    def run_patch(self, step, patch, scratch):
        for path, hunk, old in hunks(read(os.path.join(step.dir, patch))):
            times = (b"\n" + read(os.path.join(scratch, path))).count(b"\n" + old)
            if times > 1:
                raise Failure(f"series/{step.name}/{patch}: {path} has {times} places where "
                              f"the hunk {hunk} would fit; give it more context")
        done = subprocess.run(["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch", "-i",
                               os.path.join(step.dir, patch)],
                              cwd=scratch, capture_output=True, text=True)
        if done.returncode:
            names = ", ".join(step.patch_targets(patch))
            raise Failure(f"series/{step.name}/{patch} no longer applies to {names}\n"
                          + done.stdout[-2000:])


def mode_of(base, path):
    """Return the file mode of our file, or else of the base's file."""
    tops = (TOP, base) if path.split("/")[0] in OVERLAY else (base,)
    there = [f for f in (os.path.join(top, path) for top in tops) if os.path.exists(f)]
    return os.stat(there[0]).st_mode & 0o777 if there else 0o644


def check_complete(todo, ours):
    for path in ours:
        owners = [s.name for s in todo if s.takes(path)]
        if len(owners) != 1:
            what = " and ".join(owners) or "no step"
            raise Failure(f"{path} belongs to {what} of series/; name it in one 'files' list")


def final_state(base):
    """Return the changes to the base: path to contents, None if removed."""
    todo, ours = steps(), overlay_files()
    check_complete(todo, ours)
    edits = Edits(base)
    for step in todo:
        edits.apply(step, ours)
    return edits.now


def inputs_hash(base):
    """Return a hash of all that the edits depend on.

    The contents of our files are not included: assemble() always copies them.
    """
    h = hashlib.sha256(read(os.path.abspath(__file__)))
    for step in steps():
        for name in sorted(os.listdir(step.dir)):
            h.update(f"{step.name}/{name}".encode() + read(os.path.join(step.dir, name)))
        for path in step.targets():
            full = os.path.join(base, path)
            h.update(read(full) if os.path.exists(full) else b"-")
    h.update("\n".join(overlay_files()).encode())
    h.update(read(os.path.join(TOP, "MAINTAINERS")))
    h.update(os.path.abspath(base).encode() + read(os.path.join(base, "Makefile")))
    return h.hexdigest()


def wait_for_others(out):
    """Lock OUT, so that no other run writes to it or builds from it."""
    os.makedirs(os.path.dirname(out), exist_ok=True)
    lock = open(out + ".lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting for another run that holds {lock.name}")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def link_tree(base, out):
    """Copy BASE with hard links, or else with reflinks, or else completely."""
    say(f"linking the base into {out}")
    tmp = out + ".tmp"
    shutil.rmtree(tmp, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(os.path.dirname(out), exist_ok=True)
    if subprocess.run(["cp", "-al", base, tmp], capture_output=True).returncode:
        shutil.rmtree(tmp, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", base, tmp], check=True)
    os.rename(tmp, out)


def place(out, path, data, mode=0o644):
    """Write DATA to PATH of the tree if it differs; return whether it did."""
    full = os.path.join(out, path)
    if data is None:
        if os.path.exists(full):
            os.unlink(full)
            return True
        return False
    if os.path.isfile(full) and read(full) == data and os.stat(full).st_mode & 0o777 == mode:
        return False
    write(full, data, mode)
    return True


def assemble(base, out):
    base, out = os.path.abspath(base), os.path.abspath(out)
    state = os.path.join(out + ".state")
    want = inputs_hash(base)
    old = lines_of(state)
    if not os.path.isdir(out) or not old or old[0].split()[1] != base:
        link_tree(base, out)
        old = []
    placed = 0
    names = [ln.split(" ", 1)[1] for ln in old[1:]]
    if not old or old[0].split()[0] != want:
        now = final_state(base)
        for path in set(names) - set(now):
            origin = os.path.join(base, path)
            placed += place(out, path, read(origin) if os.path.exists(origin) else None,
                            mode_of(base, path))
        names = sorted(now)
        for path in names:
            placed += place(out, path, now[path], mode_of(base, path))
    for path in overlay_files():
        placed += place(out, path, read(os.path.join(TOP, path)), mode_of(base, path))
    text = "\n".join([f"{want} {base}"] + [f"- {n}" for n in names])
    write(state, text.encode() + b"\n")
    say(f"patched tree: {out} ({placed} files changed)")


def author(paths=()):
    """Return name, address and date of our last commit, or of the last one to PATHS.

    Without a repository, return name and address. The date is today then.
    """
    last = subprocess.run(["git", "-C", TOP, "log", "-1", "--format=%an%n%ae%n%aI", "--", *paths],
                          capture_output=True, text=True)
    if last.returncode == 0 and last.stdout:
        return last.stdout.split("\n")
    message = steps()[-1].message()
    return list(re.search(r"^Signed-off-by: (.+) <(.+)>$", message, re.M).groups())


def origin_of(base):
    """Return a line for the cover letter that names the base."""
    commit = subprocess.run(["git", "-C", base, "rev-parse", "-q", "--verify", "HEAD"],
                            capture_output=True, text=True).stdout.strip()
    is_top = os.path.exists(os.path.join(base, ".git"))
    if commit and is_top:
        return f"base-commit: {commit}"
    numbers = re.findall(r"^(?:VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$",
                         read(os.path.join(base, "Makefile")).decode(), re.M)
    return f"base: Linux {'.'.join(numbers)}, from a folder without a repository"


def git(repo, *args, who=None, **kw):
    who = who or author()
    env = dict(os.environ)
    for role in ("AUTHOR", "COMMITTER"):
        for key, value in zip(("NAME", "EMAIL", "DATE"), who):
            env[f"GIT_{role}_{key}"] = value
    done = subprocess.run(["git", "-C", repo, "-c", "core.compression=0", "-c",
                           "gc.auto=0", *args], env=env, capture_output=True, text=True, **kw)
    if done.returncode:
        raise Failure(f"git {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def format_patches(base, out):
    """Commit the steps in a repository of their files; run git format-patch."""
    todo, ours = steps(), overlay_files()
    check_complete(todo, ours)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    with tempfile.TemporaryDirectory(prefix="series-") as repo:
        git(repo, "init", "-q", "-b", "series")
        edits, history = Edits(base), []
        for step in todo:
            changed = edits.apply(step, ours)
            history.append((step, {p: edits.now[p] for p in changed}))
        for path in {p for _, change in history for p in change}:
            origin = os.path.join(base, path)
            if os.path.exists(origin):
                write(os.path.join(repo, path), read(origin), mode_of(base, path))
        git(repo, "add", "-A")
        git(repo, "commit", "-q", "--allow-empty", "-m", "base")
        for step, change in history:
            for path, data in change.items():
                place(repo, path, data, mode_of(base, path))
            git(repo, "add", "-A")
            mine = [p for p in change if p in ours]
            git(repo, "commit", "-q", "-m", step.message(), who=author([step.dir, *mine]))
        cover = read(os.path.join(TOP, "series", "cover")).decode() + f"\n{origin_of(base)}\n"
        git(repo, "config", "branch.series.description", cover)
        git(repo, "format-patch", "-q", "--cover-letter", "--numbered", "-M",
            "--cover-from-description=subject", "-o", os.path.abspath(out), "HEAD~%d" % len(todo))
    # git am runs on *.patch. It would stop at the cover letter, which is no patch.
    os.rename(os.path.join(out, "0000-cover-letter.patch"), os.path.join(out, "cover-letter"))
    say(f"{len(todo)} patches and a cover letter in {out}")


def listing(top):
    """Return the files below TOP: relative path to full path."""
    found = {}
    for d, dirs, names in os.walk(top):
        if d == top and ".git" in dirs:
            dirs.remove(".git")
        for n in names + [n for n in dirs if os.path.islink(os.path.join(d, n))]:
            full = os.path.join(d, n)
            found[os.path.relpath(full, top)] = full
    return found


def products(tree):
    """Return the files that the selftests' Makefile generates in the source tree."""
    text = read(os.path.join(tree, SELFTESTS, "Makefile")).decode()
    return [os.path.join(SELFTESTS, name)
            for names in re.findall(r"^EXTRA_CLEAN \+= (.+)$", text, re.M)
            for name in names.split()]


def same_tree(repo, tree):
    """Return the paths in which TREE differs from REPO. Hard links are not read."""
    a, b = listing(repo), listing(tree)
    differ = set(a) ^ set(b)
    differ -= {p for top in (repo, tree) for p in products(top)}
    for path in set(a) & set(b):
        x, y = a[path], b[path]
        if os.path.islink(x) or os.path.islink(y):
            if not (os.path.islink(x) and os.path.islink(y) and os.readlink(x) == os.readlink(y)):
                differ.add(path)
        elif not os.path.samefile(x, y) and (
                read(x) != read(y) or (os.stat(x).st_mode ^ os.stat(y).st_mode) & 0o111):
            differ.add(path)
    return sorted(differ)


def paths_of(patch):
    """Return the paths that a patch touches."""
    text = read(patch).decode(errors="replace")
    return set(re.findall(r"^diff --git a/\S+ b/(\S+)$", text, re.M)
               + re.findall(r"^diff --git a/(\S+) b/\S+$", text, re.M))


def repository(base, repo, paths):
    """Make a repository of the base that tracks only PATHS.

    git am does not change other files, and refuses to create a file that exists.
    PATHS are new copies: make must rebuild objects of an earlier check from them.
    """
    link_tree(base, repo)
    there = [p for p in sorted(paths) if os.path.exists(os.path.join(repo, p))]
    for path in there:
        full = os.path.join(repo, path)
        write(full, read(full), os.stat(full).st_mode & 0o777)
    git(repo, "init", "-q", "-b", "check")
    git(repo, "config", "status.showUntrackedFiles", "no")
    git(repo, "add", "-f", "--", *there)
    git(repo, "commit", "-q", "-m", "base")


def whole_repository(base, repo):
    """Clone the base if it is a repository, or else copy it and commit the copy."""
    tmp = repo + ".tmp"
    shutil.rmtree(tmp, ignore_errors=True)
    os.makedirs(os.path.dirname(repo), exist_ok=True)
    is_clean = os.path.exists(os.path.join(base, ".git")) and not git(
        base, "status", "--porcelain", "--untracked-files=no")
    if is_clean:
        subprocess.run(["git", "clone", "-q", "--shared", base, tmp], check=True)
    else:
        say(f"copying the base to {repo}, as one commit")
        subprocess.run(["cp", "-a", "--reflink=auto", base, tmp], check=True)
        shutil.rmtree(os.path.join(tmp, ".git"), ignore_errors=True)
        git(tmp, "init", "-q", "-b", "base")
        git(tmp, "-c", "core.compression=1", "add", "-f", "-A")
        git(tmp, "commit", "-q", "-m", "The base of the series")
    git(tmp, "config", "series.base", base)
    git(tmp, "tag", "series-base")
    os.rename(tmp, repo)


def is_at(repo, branch, tag):
    """Return whether a branch points to the commit of a tag, or does not exist."""
    heads = git(repo, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
    return not heads or heads == git(repo, "rev-parse", "-q", "--verify", tag)


def branch(base, out):
    """Apply the patches to a repository of the base, one commit each."""
    base, out, name = os.path.abspath(base), os.path.abspath(out), "page-migration"
    patches = out + ".patches"
    format_patches(base, patches)
    if not os.path.isdir(out):
        whole_repository(base, out)
    if git(out, "config", "series.base").strip() != base:
        raise Failure(f"{out} is made from another base; move it away or remove it")
    if git(out, "status", "--porcelain", "--untracked-files=no") or \
            not is_at(out, name, "series-made"):
        raise Failure(f"{out} has changes that are not in the series; "
                      "save them on another branch first")
    git(out, "checkout", "-q", "-B", name, "series-base")
    numbered = sorted(glob.glob(os.path.join(patches, "*.patch")))
    git(out, "am", "-q", *numbered)
    git(out, "tag", "-f", "series-made")
    shutil.rmtree(patches)
    say(f"{len(numbered)} commits on top of series-base, on the branch {name} of {out}")


def options_so_far(repo, paths, fragment):
    """Write a fragment for kernel.sh with those of our options that exist so far.

    own.config, which precedes it, turns DAMON off. DAMON includes our headers.
    """
    kconfig = "".join(read(os.path.join(repo, p)).decode() for p in sorted(paths)
                      if os.path.basename(p).startswith("Kconfig"))
    names = set(re.findall(r"^config (\w+)$", kconfig, re.M))
    wanted = lines_of(os.path.join(TOP, "kconfig", "series.config"))
    chosen = [ln for ln in wanted if ln.split("=")[0].removeprefix("CONFIG_") in names]
    chosen += [f"CONFIG_DAMON{part}=y" for part in ("", "_VADDR", "_PADDR")]
    write(fragment, "".join(ln + "\n" for ln in chosen).encode())


def build_programs(repo, out, patch):
    """Build the programs that a patch touches, with the kernel's Makefiles."""
    touched = paths_of(patch)
    os.makedirs(out, exist_ok=True)
    commands = []
    if any(p.startswith(SELFTESTS + "/") for p in touched):
        makefile = read(os.path.join(repo, SELFTESTS, "Makefile")).decode()
        names = re.findall(r"^TEST_GEN_FILES \+= (migrate_\w+)$", makefile, re.M)
        headers = os.path.join(out, "headers")
        commands += [
            ["make", "-s", "-C", repo, f"O={headers}", "ARCH=x86_64", "headers"],
            ["make", "-C", os.path.join(repo, SELFTESTS), f"OUTPUT={out}", "TEST_GEN_MODS_DIR=",
             "TEST_GEN_FILES=" + " ".join(f"{out}/{n}" for n in names),
             f"KHDR_INCLUDES=-isystem {headers}/usr/include", "LDLIBS=-lrt -lpthread -lm -lnuma",
             "all"]]
    if any(p.startswith(BENCH + "/") for p in touched):
        commands.append(["make", "-C", os.path.join(repo, BENCH), f"O={out}"])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or "warning:" in done.stderr:
            raise Failure(f"{' '.join(command)}:\n{done.stderr[-3000:]}")


def check(base, tree, out):
    """Check that git am gives the patched tree, and check and build every step.

    With P=number in the environment, do not build the steps before that patch.
    """
    out, first = os.path.abspath(out), os.environ.get("P") or "1"
    if not first.isdecimal():
        raise Failure(f"P={first} is not the number of a patch")
    first = int(first)
    patches, repo, programs = (os.path.join(out, n) for n in ("patches", "src", "programs"))
    # With these names compilers see the same paths as for the guest's kernel, so
    # ccache has some of the results.
    build = os.path.join(out, "guest")
    format_patches(base, patches)
    numbered = sorted(os.path.join(patches, p) for p in os.listdir(patches)
                      if p.endswith(".patch"))
    paths = set().union(*(paths_of(p) for p in numbered))
    seen = os.path.join(out, "paths")
    if set(lines_of(seen)) - paths:
        # The series no longer touches some files. Their objects may be outdated.
        shutil.rmtree(build, ignore_errors=True)
    write(seen, "\n".join(sorted(paths)).encode())
    if not 1 <= first <= len(numbered):
        raise Failure(f"P={first} is not between 1 and {len(numbered)}")
    repository(base, repo, paths)
    write(repo + ".state", "".join(f"- {path}\n" for path in sorted(paths)).encode())
    unstyled, fragment = [], os.path.join(out, "options")
    for number, patch in enumerate(numbered, 1):
        name = os.path.basename(patch)
        say(f"[{number}/{len(numbered)}] {name}")
        git(repo, "am", "-q", patch)
        if subprocess.run([os.path.join(TOP, "scripts/style.py"), repo, patch]).returncode:
            unstyled.append(name)
        if number < first:
            continue
        here = {p for p in paths if os.path.exists(os.path.join(repo, p))}
        options_so_far(repo, here, fragment + ".config")
        subprocess.run([os.path.join(TOP, "scripts/kernel.sh"), repo, build, "guest", "own",
                        os.path.relpath(fragment, os.path.join(TOP, "kconfig"))],
                       env=dict(os.environ, TARGETS="vmlinux modules"), check=True)
        build_programs(repo, programs, patch)
    differ = same_tree(repo, tree)
    if differ:
        raise Failure("git am gives another tree than the patched one: " + " ".join(differ[:10]))
    if unstyled:
        raise Failure("checkpatch has findings in " + ", ".join(unstyled))
    shutil.rmtree(repo)
    which = "each" if first == 1 else f"each from number {first} on"
    say(f"{len(numbered)} patches: {which} builds, together they are the patched tree")


def patterns_of(maintainers):
    """Return the patterns in the lines F: of each section."""
    parts = [part.split("\n", 1) for part in read(maintainers).decode().split("\n\n")]
    return {part[0]: re.findall(r"^F:\t(\S+)$", part[-1], re.M) for part in parts}


def owners(tree):
    """Check that MAINTAINERS covers our files.

    Each of its lines must match a file, and be in the patched tree's MAINTAINERS.
    """
    ours = patterns_of(os.path.join(TOP, "MAINTAINERS"))
    theirs = patterns_of(os.path.join(tree, "MAINTAINERS"))
    patterns = sum(ours.values(), [])

    def matches(path, pattern):
        if pattern.endswith("/"):
            return path.startswith(pattern)
        return path.count("/") == pattern.count("/") and fnmatch.fnmatch(path, pattern)

    wrong = [f"MAINTAINERS: no section has {path}" for path in overlay_files()
             if not any(matches(path, p) for p in patterns)]
    wrong += [f"MAINTAINERS: {pattern} matches no file" for pattern in patterns
              if not glob.glob(os.path.join(tree, pattern))]
    wrong += [f"MAINTAINERS: the kernel's section {title} has no line {pattern}"
              for title, mine in ours.items() for pattern in mine
              if pattern not in theirs.get(title, ())]
    print("".join(f"{w}\n" for w in wrong), end="")
    if wrong:
        raise Failure("MAINTAINERS does not cover our files")


def main(args):
    commands = {"assemble": (assemble, 2), "format": (format_patches, 2), "branch": (branch, 2),
                "check": (check, 3),
                "owners": (owners, 1)}
    if not args or args[0] not in commands or len(args) - 1 != commands[args[0]][1]:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        if args[0] != "owners":
            lock = wait_for_others(os.path.abspath(args[-1]))
        commands[args[0]][0](*args[1:])
        if args[0] != "owners":
            lock.close()
    except (Failure, subprocess.CalledProcessError) as e:
        print(f"series: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
