// Numbers as the page writes them: rounded as Python's format does it, and to as many digits as a sum needs to add up.

const MINUS = "\u2212";

// A number with so many digits after the point. Exactly between two it takes the even one, where toFixed takes the larger.
export function fixed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  const tie = Math.abs(value * 2 ** (digits + 1)) % 2 === 1; // exact: only an odd multiple of 2^-(digits + 1) lies between two
  const even = tie && Number(text.at(-1)) % 2 === 1 ? text.slice(0, -1) + (Number(text.at(-1)) - 1) : text;
  return (value < 0 ? "-" : "") + even;
}

// A number with its sign: +0.33, −1.59; what is written as zero has none.
export function signed(value, digits = 2) {
  const text = fixed(Math.abs(value), digits);
  return (Number(text) === 0 ? "" : value < 0 ? MINUS : "+") + text;
}

// The same without a plus.
export function number(value, digits = 2) {
  return signed(value, digits).replace("+", "");
}

export function percent(probability, digits = 1) {
  return `${fixed(100 * probability, digits)} %`;
}

// What a number is coloured as: "positive", "negative" or "".
export function sign(value) {
  return value > 0 ? "positive" : value < 0 ? "negative" : "";
}

// A number as it is written, as a whole number of units in its last digit: 0.334 with two digits is 33.
export function units(value, digits) {
  return Math.round(Number(fixed(value, digits)) * 10 ** digits);
}

// The fewest digits, from two to six, with which the terms as shown add up to the total as shown.
export function digitsThatAdd(terms, total) {
  for (let digits = 2; digits < 7; digits++) {
    if (terms.reduce((sum, term) => sum + units(term, digits), 0) === units(total, digits)) return digits;
  }
  return 6;
}
