const $ = (selector) => document.querySelector(selector);
const $$ = (selector) => [...document.querySelectorAll(selector)];
const texts = (selector) => $$(selector).map((node) => node.textContent.trim());

// The name of a glyph. In a cell of a verdict it is the verdict's name.
const glyph = (node) => node.querySelector("use").getAttribute("href").slice(1);

// The rows of the table, as `unit|state|verdict|machine`.
const row = (node) =>
  [
    node.querySelector(".name").textContent,
    node.querySelector(".state span").textContent,
    glyph(node.querySelector(".verdict")),
    node.querySelector(".machine .ip").textContent,
  ].join("|");
const rows = () => $$(".line.unit").map(row);
const names = () =>
  rows()
    .map((row) => row.split("|")[0])
    .join(" ");

// Whether the lines below an open row are where its details end.
const isLaidOut = () => {
  const { bottom } = $(".opened").getBoundingClientRect();
  const { top } = $(".opened + *").getBoundingClientRect();
  return Math.abs(bottom - top) < 1;
};

// The numbers in a text, as `2/3`.
const numbers = (text) => text.match(/\d+/g).join("/");

// The connection, and the badge, which is about the data too.
const link = (kind) => document.body.dataset.link === kind;
const badge = () => $("#link").dataset.kind;
const polling = () => link("live") && $("#link").matches("[data-polling]");
const live = () => link("live") && !polling();

// The summary: what the headline is about, its colour, and the facts below it.
const headline = () => $(".summary").dataset.headline;
const tone = () => $(".summary").dataset.tone;
const fact = (name) => $(`[data-fact=${name}]`)?.textContent;

// The cards of the causes, as `shape kind`. A new one has a `+` before it, one that is muted a `-`.
const mutes = () => $$(".mute");
const isMuted = (button) => button.ariaPressed === "true";
const causes = () =>
  $$(".trouble").map((card) => {
    const sign = isMuted(card.nextElementSibling) ? "-" : card.matches("[data-new]") ? "+" : "";
    return `${sign}${card.dataset.shape} ${glyph(card)}`;
  });

// The boxes above the headline. One of an error has the lists that cannot be read behind it.
const banners = () =>
  $$(".banner").map(({ dataset }) =>
    [dataset.banner, ...(dataset.lists ?? "").split(" ")].filter(Boolean).join(" "),
  );
