#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Read the prose of files: comments in C, pages, messages of patches, and what patches add.

usage: prose.py TREE FILE...

Prints each name that no code of TREE, the patched tree, has, and each sentence of more than
40 words.  A name is a word with an underscore, a word with "()" behind it, or the path of a
file.  It may stand anywhere in TREE but in a comment or a page; a path has to exist there or
in this checkout.  A line of scripts/prose.allow is a name that is not in TREE, with the
reason in the comment above it.
"""

import os
import re
import subprocess
import sys

from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
ALLOW = TOP / "scripts" / "prose.allow"
MAX_WORDS = 40
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
# The beginning of each line of a comment.
FRAME = re.compile(r"^[ \t]*(/\*+|\*/|\*|//)?[ \t]?|\*/$", re.M)
NAME = re.compile(r"(?<![\w.$/%*<{-])(?:[A-Za-z]\w*(?=\(\))|[A-Za-z]\w*_\w+)(?![\w*/-]|\.[a-z])")
PATH = re.compile(r"(?<![\w./])(?:Documentation|arch|drivers|fs|include|kernel|lib|mm|samples"
                  r"|scripts|tools)/[\w./-]*\w\.(?:[chS]|rst|sh|py|txt|cocci)\b")
# Each begins a sentence of its own: an item of a list, a parameter, a heading of kernel-doc.
ITEM = re.compile(r"^[ \t]*(?:[-*+] |\d+\. |#\. |@[\w.]+:|\w+ - |[A-Z]\w+: )", re.M)
# A ruler, a frame, the second column of a list-table, or two lines with columns.
TABLE = re.compile(r"^[ \t]*(?:[=-]+( +[=-]+)+|\+-[-+]*|\|.*\||[*-] - .*)$"
                   r"|^.*\S {2,}\S.*\n(?:.*\n)*?.*\S {2,}\S.*$", re.M)
HEADING = re.compile(r"^(.*)\n([=~^\"'*-])\2+$", re.M)
# In these a name of the base may be all that there is: a string or an option.
PLACES = ("arch", "block", "drivers", "fs", "include", "init", "io_uring", "ipc", "kernel", "lib",
          "mm", "net", "samples", "security", "sound", "tools", "virt", "Makefile", "scripts")


def added(text):
    """The text that a patch or a semantic patch adds, and the comments of the latter.

    Lines inside a comment of the base become a comment of their own.
    """
    found = []
    for run in re.findall(r"(?:^\+(?!\+\+ ).*\n|^//.*\n)+", text, re.M):
        lines = re.sub(r"^\+", "", run, flags=re.M)
        if re.match(r"[ \t]*\*", lines):
            lines = "/*" + lines
        if lines.count("/*") > lines.count("*/"):
            lines += "*/"
        found.append(lines)
    return "\n".join(found)


def prose_of(path):
    """The text of a file that is for people."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".patch", ".cocci"):
        # A patch adds to pages or to code, not to both. Kconfig has pages, too.
        page = re.search(r"^\+\+\+ b/.*(?:\.rst|/Kconfig.*)$", text, re.M)
        text = added(text)
        if page:                # without the entries of a toctree
            return re.sub(r"^[ \t]*\S+$", "", text, flags=re.M)
    elif path.suffix not in (".c", ".h"):
        return text
    # A string is no comment, whatever is in it.
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    return "\n\n".join(FRAME.sub("", comment) for comment in COMMENT.findall(text))


def paragraphs(text):
    """Those parts of a text that have sentences: no tables, no code."""
    code = False
    for part in re.split(r"\n[ \t]*\n", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        if code and part[:1] in " \t":
            continue
        code = part.rstrip().endswith("::")
        if not TABLE.search(part):
            yield HEADING.sub("", part)


def sentences(text):
    for part in paragraphs(text):
        for item in ITEM.split(part):
            yield from re.split(r"(?<=[.!?;:])\s+", item)


def in_code(tree, names):
    """Those of the names that are in the tree, outside of comments and pages."""
    found = set()
    places = [p for p in PLACES if (tree / p).exists()]
    # A name as a whole word, and what CONFIG_ stands for in Kconfig.
    wanted = names | {n.removeprefix("CONFIG_") for n in names}
    done = subprocess.run(["grep", "-rhwFf", "-", "--exclude=*.rst", "--exclude=*.o",
                           "--exclude=*.json", *places], cwd=tree, text=True, errors="replace",
                          env=dict(os.environ, LC_ALL="C"),
                          input="\n".join(sorted(wanted)), capture_output=True, check=False)
    for line in done.stdout.split("\n"):
        if not re.match(r"\s*(?:/?\*|//)\s", line):
            found.update(re.findall(r"\w+", line))
    return {n for n in names if n in found or n.removeprefix("CONFIG_") in found}


def allowed():
    lines = ALLOW.read_text(encoding="utf-8").split("\n") if ALLOW.exists() else []
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def main(args):
    if len(args) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    tree, said, findings, known = Path(args[0]), {}, [], allowed()
    for name in args[1:]:
        text = prose_of(TOP / name)
        for word in NAME.findall(text):
            said.setdefault(word, name)
        for path in PATH.findall(text):
            # migrate_NAME.c is any file.
            if "NAME" not in path and not (tree / path).exists() and not (TOP / path).exists():
                findings.append(f"{name}: there is no file {path}")
        for sentence in sentences(text):
            words = sentence.split()
            if len(words) > MAX_WORDS:
                findings.append(f"{name}: {len(words)} words: {' '.join(words[:8])} ...")
    missing = set(said) - in_code(tree, set(said))
    findings += [f"{said[n]}: {n} is not in the code" for n in sorted(missing - known)]
    findings += [f"scripts/prose.allow: unused line: {n}"
                 for n in sorted(known - missing)]
    print("\n".join(findings), end="\n" if findings else "")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
