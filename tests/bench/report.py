"""Tables of results: ratios, Markdown, JSON."""
import dataclasses
import json
import pathlib


@dataclasses.dataclass
class Row:
    engine: str
    ours: bool
    values: list  # one a round; the best counts
    failure: str | None = None
    others: list = dataclasses.field(default_factory=list)  # what others had of the machine in each round


@dataclasses.dataclass
class Table:
    name: str
    title: str
    unit: str
    rows: list
    lower_is_better: bool = False
    note: str = ""
    case: str = ""  # the benchmark that made it
    measured: str = ""  # when, and at which commit

    def best(self, row):
        if not row.values:
            return None
        return min(row.values) if self.lower_is_better else max(row.values)

    def others(self, row):
        """What others had of the machine when the best value came about."""
        return row.others[row.values.index(self.best(row))] if row.values and row.others else 0.0

    def best_peer(self):
        values = [self.best(row) for row in self.rows if not row.ours and row.values]
        return (min(values) if self.lower_is_better else max(values)) if values else None

    def ratio(self, row):
        """How many times as good as the best peer."""
        value, peer = self.best(row), self.best_peer()
        if not value or not peer:
            return None
        return peer / value if self.lower_is_better else value / peer


def rows_of(engines, key=None):
    """Rows of engines whose values are numbers, or dictionaries of which `key` is wanted."""
    def number(value):
        return value[key] if isinstance(value, dict) else value
    return [Row(engine.name, engine.ours,
                [number(value) for value in engine.values if not isinstance(value, dict) or key in value], engine.failure)
            for engine in engines]


def digits(value):
    if value is None:
        return "–"
    for limit, form in ((100, "{:,.0f}"), (10, "{:.1f}"), (0.1, "{:.2f}")):
        if abs(value) >= limit:
            return form.format(value)
    return f"{value:.4f}"


def markdown(machine, tables):
    lines = [f"{machine['processor']}, {machine['cores']} cores; `bash tests/bench/run.sh`. Best of {machine['rounds']} "
             "interleaved rounds.", ""]
    for table in tables:
        lines += [f"### {table.title}", "", f"| engine | {table.unit} | times the best peer |", "|---|---:|---:|"]
        for row in sorted(table.rows, key=lambda row: (table.best(row) or 0) * (1 if table.lower_is_better else -1)):
            name = f"**{row.engine}**" if row.ours else row.engine
            ratio = table.ratio(row)
            value = f"failed: {row.failure}" if row.failure else digits(table.best(row))
            lines.append(f"| {name} | {value} | {'–' if ratio is None else f'{ratio:.2f}'} |")
        others = max((table.others(row) for row in table.rows), default=0)
        others = f" Others had up to {others:.0%} of the machine in a best round." if others > 0.05 else ""
        lines += ["", f"{table.note} Measured {table.measured}.{others}".strip(), ""]
    return "\n".join(lines)


def merged(name, title, tables):
    """Tables of two engines each as rows of one: the ratio says how many times as fast ours is."""
    rows = []
    for table in tables:
        ours = next(row for row in table.rows if row.ours)
        ratio = table.ratio(ours)
        rows.append(Row(f"{table.title}: {digits(table.best(ours))} {table.unit}, peer {digits(table.best_peer())} {table.unit}",
                        True, [ratio] if ratio else []))
    return Table(name, title, "times as fast", rows)


def write(folder, machine, tables):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    document = {**machine, "tables": [
        {**dataclasses.asdict(table),
         "rows": [{**dataclasses.asdict(row), "best": table.best(row), "times_the_best_peer": table.ratio(row)}
                  for row in table.rows]} for table in tables]}
    (folder / "bench.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "bench.md").write_text(markdown(machine, tables))


def read(folder, machine, replaced):
    """The tables that an earlier run on this machine left in the folder, but those whose case is measured anew."""
    file = pathlib.Path(folder) / "bench.json"
    if not file.exists():
        return []
    document = json.loads(file.read_text())
    if document["processor"] != machine["processor"] or document["rounds"] != machine["rounds"]:
        return []
    known = {field.name for field in dataclasses.fields(Row)}
    tables = []
    for table in document["tables"]:
        rows = [Row(**{key: value for key, value in row.items() if key in known}) for row in table.pop("rows")]
        tables.append(Table(rows=rows, **table))
    return [table for table in tables if table.case not in replaced]
