#!/usr/bin/env bash
# usage: scripts/house.sh [CHECKOUT]
# Prints figures of the source of a checkout (this one by default), so that two commits can be compared: sizes, widths,
# types in files of another name, comments that do not name their subject, folders that import each other. The minutes
# of the tests are those that scripts/test.sh prints.
set -euo pipefail
export LC_ALL=C.UTF-8

cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

# sources FOLDER NAME…: files that are the project's own.
sources() {
  local folder=$1 name
  local -a names=()
  shift
  for name; do names+=(-o -name "$name"); done
  find "$folder" -type d \( -name bin -o -name obj \) -prune -o -type f \( "${names[@]:1}" \) -print | sort
}

# comments FOLDER: their text, without markers and tags.
comments() {
  sources "$1" '*.cs' '*.lua' '*.sh' | xargs -r sed -nE 's/^[ \t]*\/\/\/? ?(.*)$/\1/p; s/^.*[;{}(),] +\/\/ (.*)$/\1/p; s/^[ \t]*-- ?(.*)$/\1/p; s/^[ \t]*# (.*)$/\1/p' | sed -E 's/<[^<>]*>/ /g'
}

# share PART WHOLE: in percent.
share() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f %%", b ? 100 * a / b : 0 }'; }

# types_elsewhere FOLDER: "own" or "other" for each top-level type, by the name of its file.
types_elsewhere() {
  sources "$1" '*.cs' | while read -r file; do
    sed -nE 's/^(public |internal |static |sealed |abstract |partial |readonly |ref |file )*(class|record struct|record|struct|interface|enum) ([A-Za-z0-9_]+).*/\3/p' "$file" |
      awk -v own="$(basename "$file" .cs)" '{ print ($1 == own ? "own" : "other") }'
  done
}

# mutual PROJECT: pairs of folders of a project that import each other.
mutual() {
  local root=$1 space=$2 folder
  for folder in "$root"/*/; do
    folder=$(basename "$folder")
    sources "$root/$folder" '*.cs' | xargs -r grep -hoE "^(global )?using $space\.[A-Za-z]+" | sed -E "s/.*$space\.//" | sort -u | sed "s/^/$folder /"
  done | awk '$1 != $2 { seen[$1 " " $2] = 1 } END { for (pair in seen) { split(pair, p, " "); if (p[1] < p[2] && (p[2] " " p[1]) in seen) n++ } print n + 0 }'
}

for folder in src tests loadtests; do
  lines=$(sources "$folder" '*.cs' | xargs cat | wc -l)
  wide=$(sources "$folder" '*.cs' | xargs cat | awk 'length($0) > 120' | wc -l)
  types=$(types_elsewhere "$folder" | sort | uniq -c | tr '\n' ' ')
  words=$(comments "$folder" | wc -w)
  nameless=$(comments "$folder" | { grep -oE '\b[Ww]hat(ever)?\b|\b[Ww]ho(m|se)?ever\b|\b(is|are) none\b' || true; } | wc -l)
  printf '%-10s C# lines %s; over 120 columns %s (%s); top-level types in a file of%s; comments %s words, nameless %s in 1,000\n' "$folder" "$lines" "$wide" "$(share "$wide" "$lines")" \
    " another name or their own: $types" "$words" "$(awk -v a="$nameless" -v b="$words" 'BEGIN { printf "%.1f", 1000 * a / b }')"
done
for folder in src/*/ src/FlashSale.Core/*/; do
  [[ $folder != *bin/ && $folder != *obj/ ]] || continue
  printf '%-38s %5s files %6s lines\n' "${folder%/}" "$(sources "${folder%/}" '*.cs' '*.lua' '*.sql' | wc -l)" "$(sources "${folder%/}" '*.cs' '*.lua' '*.sql' | xargs -r cat | wc -l)"
done
for host in Api Admin Worker; do printf 'folders of FlashSale.%s that import each other: %s pairs\n' "$host" "$(mutual "src/FlashSale.$host" "FlashSale.$host")"; done
printf 'README %s lines; docs %s pages, %s lines; bash %s lines\n' "$(wc -l <README.md)" "$(find docs -name '*.md' 2>/dev/null | wc -l)" "$(find docs -name '*.md' -exec cat {} + 2>/dev/null | wc -l)" "$(find scripts .ci -type f \( -name '*.sh' -o -name run \) -exec cat {} + | wc -l)"
