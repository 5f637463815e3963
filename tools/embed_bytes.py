#!/usr/bin/env python3
"""Writes a file's bytes as a C array, with the header that declares it.

    embed_bytes.py input.bin symbol out_folder

gives out_folder/symbol.c and out_folder/symbol.h with

    extern const unsigned char symbol[];
    extern const size_t symbol_size;

A NUL follows the bytes, which symbol_size does not count: a text is a string.
"""

import pathlib
import sys


def main():
    source, symbol, folder = sys.argv[1:4]
    data = pathlib.Path(source).read_bytes()
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    guard = symbol.upper() + "_H"
    (folder / (symbol + ".h")).write_text(
        "#ifndef %s\n#define %s\n\n#include <stddef.h>\n\n"
        "extern const unsigned char %s[];\nextern const size_t %s_size;\n\n"
        "#endif\n" % (guard, guard, symbol, symbol)
    )
    rows = (
        "\t" + " ".join("%d," % byte for byte in data[at : at + 16])
        for at in range(0, len(data), 16)
    )
    (folder / (symbol + ".c")).write_text(
        '#include "%s.h"\n\nconst unsigned char %s[] = {\n%s\n\t0};\n'
        "const size_t %s_size = %d;\n"
        % (symbol, symbol, "\n".join(rows), symbol, len(data))
    )


if __name__ == "__main__":
    main()
