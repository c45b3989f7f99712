//! Families whose series are written in the same order each time, so that two scrapes can be
//! compared line by line.
//!
//! This module must not know what is counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A family with one label, whose metrics are created when they are first used. Its series are in
/// the order of the label's values.
pub(super) struct LabeledFamily<M> {
    label: &'static str,
    create: fn() -> M,
    series: Arc<RwLock<BTreeMap<&'static str, M>>>,
}

impl<M: Clone> LabeledFamily<M> {
    /// A family without series.
    pub(super) fn new(label: &'static str, create: fn() -> M) -> Self {
        Self { label, create, series: Arc::default() }
    }

    /// A family with a series for each of these values. A counter that exists from the start shows
    /// its first increase.
    pub(super) fn with_series(
        label: &'static str,
        values: impl IntoIterator<Item = &'static str>,
        create: fn() -> M,
    ) -> Self {
        let series = values.into_iter().map(|value| (value, create())).collect();
        Self { label, create, series: Arc::new(RwLock::new(series)) }
    }

    /// The metric with this value of the label. A clone of a metric is the same metric.
    pub(super) fn get(&self, value: &'static str) -> M {
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = known.get(value) {
            return metric.clone();
        }
        drop(known);

        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        series.entry(value).or_insert_with(self.create).clone()
    }
}

impl<M> Clone for LabeledFamily<M> {
    fn clone(&self) -> Self {
        Self {
            label: self.label,
            create: self.create,
            series: self.series.clone(),
        }
    }
}

impl<M> fmt::Debug for LabeledFamily<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabeledFamily")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl<M: EncodeMetric + TypedMetric> EncodeMetric for LabeledFamily<M> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        for (value, metric) in &*series {
            metric.encode(encoder.encode_family(&[(self.label, *value)])?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}

/// A family with two labels, whose series are all known from the start.
pub(super) struct PairFamily<M> {
    labels: [&'static str; 2],
    series: Arc<[([&'static str; 2], M)]>,
}

impl<M: Clone> PairFamily<M> {
    /// A family with a series for each of these pairs of values, in this order.
    pub(super) fn new(
        labels: [&'static str; 2],
        pairs: Vec<[&'static str; 2]>,
        create: fn() -> M,
    ) -> Self {
        let series = pairs.into_iter().map(|pair| (pair, create())).collect();
        Self { labels, series }
    }

    /// The metric with these values of the labels, which must be one of the pairs.
    pub(super) fn get(&self, pair: [&'static str; 2]) -> M {
        let (_, metric) = self
            .series
            .iter()
            .find(|(known, _)| *known == pair)
            .expect("all pairs are known from the start");
        metric.clone()
    }
}

impl<M> Clone for PairFamily<M> {
    fn clone(&self) -> Self {
        Self { labels: self.labels, series: self.series.clone() }
    }
}

impl<M> fmt::Debug for PairFamily<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairFamily")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

impl<M: EncodeMetric + TypedMetric> EncodeMetric for PairFamily<M> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let [first, second] = self.labels;
        for ([one, another], metric) in &*self.series {
            let labels = [(first, *one), (second, *another)];
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}

/// A family without labels. A value that is too large counts as the largest.
pub(super) fn gauge(value: impl TryInto<i64>) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(value.try_into().unwrap_or(i64::MAX));
    gauge
}

/// The labels of one series, with their values.
pub(super) type Labels<const N: usize> = [(&'static str, String); N];

/// A family of gauges of one moment, in the order in which they were added. Nothing checks that no
/// labels repeat.
#[derive(Debug, Default)]
pub(super) struct GaugeList<const N: usize>(Vec<(Labels<N>, i64)>);

impl<const N: usize> GaugeList<N> {
    pub(super) fn push(&mut self, labels: Labels<N>, value: i64) {
        self.0.push((labels, value));
    }
}

impl<const N: usize> FromIterator<(Labels<N>, i64)> for GaugeList<N> {
    fn from_iter<I: IntoIterator<Item = (Labels<N>, i64)>>(series: I) -> Self {
        Self(series.into_iter().collect())
    }
}

impl<const N: usize> EncodeMetric for GaugeList<N> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        for (labels, value) in &self.0 {
            ConstGauge::new(*value).encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}
