//! What was measured of a build of the program, and how that is printed, beside the same of
//! another.

/// Samples of each quantity; empty where it is not measured.
#[derive(Default)]
pub struct Figures {
    /// CPU when no unit changes, in per cent of a core.
    pub at_rest: Vec<f64>,
    /// The same of its children, if it has any.
    pub children_at_rest: Vec<f64>,
    /// The same of who is asked.
    pub asked_at_rest: Vec<f64>,
    /// CPU when a unit changes each second or so, in per cent of a core.
    pub among_changes: Vec<f64>,
    /// CPU until all is read, in milliseconds.
    pub beginning: Vec<f64>,
    /// Resident memory, in MiB.
    pub memory: Vec<f64>,
    /// The most that it ever was.
    pub peak_memory: Vec<f64>,
    /// From a change to its frame at a client of the second protocol, in milliseconds.
    pub second: Vec<f64>,
    /// The same of the first protocol, whose lists hold each other back.
    pub first: Vec<f64>,
    /// From a change to etcd's answer to that, in milliseconds.
    pub answer: Vec<f64>,
}

/// What is not to be exceeded.
#[derive(Default)]
pub struct Budgets {
    pub at_rest: Option<f64>,
    pub peak_memory: Option<f64>,
    pub second: Option<f64>,
}

const MEDIAN: f64 = 0.5;
const P95: f64 = 0.95;

/// A line of the table: what it is, where its samples are, which of them it tells, and their
/// budget.
type Line = (&'static str, fn(&Figures) -> &[f64], f64, Option<f64>);

impl Figures {
    /// Prints the median or another quantile of each quantity; where there are two builds, those of
    /// the one before and the ratio, too.
    pub fn print(&self, before: Option<&Self>, budgets: &Budgets) {
        let lines: [Line; 12] = [
            ("CPU at rest, %", |it| &it.at_rest, MEDIAN, budgets.at_rest),
            ("  its children, %", |it| &it.children_at_rest, MEDIAN, None),
            ("  who is asked, %", |it| &it.asked_at_rest, MEDIAN, None),
            ("CPU among changes, %", |it| &it.among_changes, MEDIAN, None),
            ("CPU to begin, ms", |it| &it.beginning, MEDIAN, None),
            ("memory, MiB", |it| &it.memory, MEDIAN, None),
            ("  at most, MiB", |it| &it.peak_memory, MEDIAN, budgets.peak_memory),
            ("change to 2nd protocol, ms", |it| &it.second, MEDIAN, budgets.second),
            ("  95th percentile, ms", |it| &it.second, P95, None),
            ("  etcd's own answer, ms", |it| &it.answer, MEDIAN, None),
            ("change to 1st protocol, ms", |it| &it.first, MEDIAN, None),
            ("  95th percentile, ms", |it| &it.first, P95, None),
        ];

        for (name, samples, of, budget) in lines {
            let Some(now) = quantile(samples(self), of) else {
                continue;
            };
            let compared = before
                .and_then(|before| quantile(samples(before), of))
                .map_or(String::new(), |before| {
                    format!("  before {before:8.2}  ratio {:5.2}", now / before)
                });
            println!("  {name:26} {now:8.2}{compared}  {}", judged(now, budget));
        }
    }
}

fn quantile(samples: &[f64], of: f64) -> Option<f64> {
    let mut samples = samples.to_vec();
    samples.sort_unstable_by(f64::total_cmp);
    samples.get((samples.len() as f64 * of) as usize).copied()
}

/// What stands behind a number: its budget if it has one, and whether it is kept.
fn judged(number: f64, budget: Option<f64>) -> String {
    budget.map_or(String::new(), |budget| {
        format!("(budget {budget}){}", if number > budget { " OVER" } else { "" })
    })
}
