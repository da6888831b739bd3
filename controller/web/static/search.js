// Which rows a search means: the same words as web/search.py, held equal by a test.
const fields = {
  host: (row) => String(row.host ?? ""),
  site: (row) => String(row.site ?? ""),
  policy: (row) => String(row.policy ?? ""),
  net: (row) => (row.networks ?? []).join(" "),
  is: (row) => `${row.level} ${row.power ?? ""}`,
};

export function means(row, words) {
  for (const word of words.toLowerCase().split(/\s+/).filter(Boolean)) {
    const colon = word.indexOf(":");
    const field = colon > 0 && Object.hasOwn(fields, word.slice(0, colon)) ? fields[word.slice(0, colon)] : null;
    const found = field ? field(row).toLowerCase().includes(word.slice(colon + 1)) : row.name.toLowerCase().includes(word);
    if (!found) return false;
  }
  return true;
}
