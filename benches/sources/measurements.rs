//! What was measured of a build of the program, and the table in which it is printed, beside the
//! results of another build.

/// The samples of each quantity; empty if it is not measured.
#[derive(Default)]
pub struct Measurements {
    /// CPU time while no unit changes, in per cent of a core.
    pub cpu_at_rest: Vec<f64>,
    /// The CPU time of its children in the same time, if it has any.
    pub children_at_rest: Vec<f64>,
    /// The CPU time of etcd in the same time.
    pub etcd_at_rest: Vec<f64>,
    /// CPU time while a unit changes about once a second, in per cent of a core.
    pub cpu_with_changes: Vec<f64>,
    /// CPU time until everything has been read, in milliseconds.
    pub cpu_to_start: Vec<f64>,
    /// Resident memory, in MiB.
    pub memory: Vec<f64>,
    /// The largest resident memory, in MiB.
    pub peak_memory: Vec<f64>,
    /// From a change until a client of the second protocol has it, in milliseconds.
    pub to_second_protocol: Vec<f64>,
    /// From a change until a client of the first protocol has it, in milliseconds. Large lists are
    /// sent less often.
    pub to_first_protocol: Vec<f64>,
    /// From a change until etcd has answered the request for it, in milliseconds.
    pub etcd_answer: Vec<f64>,
}

/// The largest allowed results; `None` if there is no limit.
#[derive(Default)]
pub struct ResourceBudgets {
    /// In per cent of a core.
    pub cpu_at_rest: Option<f64>,
    /// In MiB.
    pub peak_memory: Option<f64>,
    /// In milliseconds.
    pub to_second_protocol: Option<f64>,
}

const MEDIAN: f64 = 0.5;
const P95: f64 = 0.95;

struct TableRow {
    name: &'static str,
    samples: fn(&Measurements) -> &[f64],
    quantile: f64,
    budget: Option<f64>,
}

impl TableRow {
    const fn new(name: &'static str, samples: fn(&Measurements) -> &[f64], quantile: f64) -> Self {
        Self { name, samples, quantile, budget: None }
    }

    fn with_budget(self, budget: Option<f64>) -> Self {
        Self { budget, ..self }
    }
}

fn table(budgets: &ResourceBudgets) -> [TableRow; 12] {
    [
        TableRow::new("CPU at rest, %", |it| &it.cpu_at_rest, MEDIAN)
            .with_budget(budgets.cpu_at_rest),
        TableRow::new("  its children, %", |it| &it.children_at_rest, MEDIAN),
        TableRow::new("  etcd, %", |it| &it.etcd_at_rest, MEDIAN),
        TableRow::new("CPU with changes, %", |it| &it.cpu_with_changes, MEDIAN),
        TableRow::new("CPU to start, ms", |it| &it.cpu_to_start, MEDIAN),
        TableRow::new("memory, MiB", |it| &it.memory, MEDIAN),
        TableRow::new("  at most, MiB", |it| &it.peak_memory, MEDIAN)
            .with_budget(budgets.peak_memory),
        TableRow::new("change to 2nd protocol, ms", |it| &it.to_second_protocol, MEDIAN)
            .with_budget(budgets.to_second_protocol),
        TableRow::new("  95th percentile, ms", |it| &it.to_second_protocol, P95),
        TableRow::new("  etcd's own answer, ms", |it| &it.etcd_answer, MEDIAN),
        TableRow::new("change to 1st protocol, ms", |it| &it.to_first_protocol, MEDIAN),
        TableRow::new("  95th percentile, ms", |it| &it.to_first_protocol, P95),
    ]
}

impl Measurements {
    /// Prints a quantile of each quantity. If an older build was measured too, it prints the
    /// results of that build and the ratio of both.
    pub fn print(&self, before: Option<&Self>, budgets: &ResourceBudgets) {
        for row in table(budgets) {
            let of = |measurements| quantile((row.samples)(measurements), row.quantile);
            let Some(now) = of(self) else {
                continue;
            };

            let comparison = before.and_then(of).map_or(String::new(), |before| {
                format!("  before {before:8.2}  ratio {:5.2}", now / before)
            });
            let budget = row.budget.map_or(String::new(), |budget| format_budget(now, budget));
            println!("  {:26} {now:8.2}{comparison}  {budget}", row.name);
        }
    }
}

fn quantile(samples: &[f64], quantile: f64) -> Option<f64> {
    let mut samples = samples.to_vec();
    samples.sort_unstable_by(f64::total_cmp);
    samples.get((samples.len() as f64 * quantile) as usize).copied()
}

/// The end of a line: the budget, and `OVER` if the result exceeds it.
fn format_budget(result: f64, budget: f64) -> String {
    let over = if result > budget { " OVER" } else { "" };
    format!("(budget {budget}){over}")
}
