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

// What a number that is written with so many digits is coloured as: "positive", "negative" or, where that is zero, "".
export function sign(value, digits) {
  const written = units(value, digits);
  return written > 0 ? "positive" : written < 0 ? "negative" : "";
}

// A number as it is written, as a whole number of units in its last digit: 0.334 with two digits is 33.
export function units(value, digits) {
  return Math.round(Number(fixed(value, digits)) * 10 ** digits);
}

// What terms that are written with so many digits lack of their total as it is written: 0 where they add up.
export function missing(terms, total, digits) {
  return (units(total, digits) - terms.reduce((sum, term) => sum + units(term, digits), 0)) / 10 ** digits;
}

// How a sum is written: { digits, rounding }. The fewest digits, from two to four, with which the terms as shown add up to the
// total as shown; where none do, it is three, and a term of its own says what rounding has cost.
export function digitsThatAdd(terms, total) {
  for (let digits = 2; digits < 5; digits++) if (missing(terms, total, digits) === 0) return { digits, rounding: 0 };
  return { digits: 3, rounding: missing(terms, total, 3) };
}

// How a product of two numbers is written, itself to three digits: { digits, equals }. The fewest digits, from three to six,
// with which the factors as shown make the product as shown; where none do, it is three, and they are about equal.
export function digitsThatMultiply(a, b, product) {
  for (let digits = 3; digits < 7; digits++) {
    const one = 10 ** (2 * digits - 3); // a unit of the product's last digit, in those of a factor's times a factor's
    const apart = units(a, digits) * units(b, digits) - units(product, 3) * one;
    if (2 * Math.abs(apart) < one) return { digits, equals: "=" };
  }
  return { digits: 3, equals: "≈" };
}
