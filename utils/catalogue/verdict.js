// What outputs say: the best labels, the classes of pixels, the verdict of golden tensors, as example.py gives them.

/** The labels with the highest scores, best first: [{label, score}]; logits become probabilities. */
export function best(scores, labels, top) {
  let found = Array.from(scores);
  if (found.some((score) => score < -0.01 || score > 1.01)) {
    const most = found.reduce((one, other) => Math.max(one, other), -Infinity);
    found = found.map((score) => Math.exp(score - most));
    const sum = found.reduce((total, score) => total + score, 0);
    found = found.map((score) => score / sum);
  }
  const order = found.map((_, index) => index).sort((one, other) => found[other] - found[one] || one - other);
  return order.slice(0, top).map((index) => ({ label: labels[index] ?? `class ${index}`, score: found[index] }));
}

/** The class with the highest score of each position: scores, classes last. */
export function classMap(scores, count) {
  const made = new Int32Array(scores.length / count);
  for (let position = 0; position < made.length; position++) made[position] = largest(scores, position * count, count);
  return made;
}

function largest(values, at, count) {
  let found = 0;
  for (let index = 1; index < count; index++) if (values[at + index] > values[at + found]) found = index;
  return found;
}

/** Labels with their share of the pixels in %, largest first. */
export function shares(classes, labels) {
  const counts = new Array(labels.length).fill(0);
  for (const found of classes) if (found < counts.length) counts[found]++;
  const order = counts.map((_, index) => index).filter((index) => counts[index]);
  order.sort((one, other) => counts[other] - counts[one] || one - other);
  return order.map((index) => ({ number: index, label: labels[index], share: (100 * counts[index]) / classes.length }));
}

/** Every step-th row and column of scores of the shape [1, height, width, classes]. */
export function thinned(scores, shape, step) {
  if (step <= 1) return scores;
  const [, height, width, classes] = shape;
  const kept = [];
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) {
      const at = (y * width + x) * classes;
      for (let index = 0; index < classes; index++) kept.push(scores[at + index]);
    }
  }
  return Float32Array.from(kept);
}

const MAY_TURN = 0.01; // share of the clear pixels that a right runtime may still answer otherwise

/**
 * Compare outputs with golden ones, in the golden ones' own numbers: steps for integers.
 *
 * outputs, golden: lists of arrays of equal length; classes: the length of the last axis; ends: the limits of the
 * integers, or null. Returns {verdict, worst, inputs}; worst is Infinity where an output is no number.
 */
export function judge(outputs, golden, classes, tolerance, ends) {
  const isSteps = ends !== null;
  const noise = isSteps ? 1 : tolerance;
  const positions = golden[0].length / classes;
  const margin = positions === 1 ? 2 * noise : tolerance / 2;
  const limits = ends ?? limitsOf(outputs, golden);
  let [worst, clear, turned, broken] = [0, 0, 0, false];
  let [spread, goldenSpread, atEnds, goldenAtEnds] = [0, 0, true, true];
  golden.forEach((theirs, number) => {
    const ours = outputs[number];
    for (let index = 0; index < theirs.length; index++) {
      const error = Number.isFinite(ours[index]) ? Math.abs(ours[index] - theirs[index]) : Infinity;
      broken ||= error === Infinity;
      worst = Math.max(worst, error);
      spread = Math.max(spread, Math.abs(ours[index] - outputs[0][index]));
      goldenSpread = Math.max(goldenSpread, Math.abs(theirs[index] - golden[0][index]));
      atEnds &&= limits.includes(ours[index]);
      goldenAtEnds &&= limits.includes(theirs[index]);
    }
    for (let position = 0; position < positions; position++) {
      const at = position * classes;
      const answer = largest(theirs, at, classes);
      let second = -Infinity;
      for (let index = 0; index < classes; index++) if (index !== answer) second = Math.max(second, theirs[at + index]);
      if (classes < 2 || theirs[at + answer] - second <= margin) continue;
      clear++;
      if (largest(ours, at, classes) !== answer) turned++;
    }
  });
  const verdict = name(worst <= tolerance && turned <= (positions === 1 ? 0 : MAY_TURN * clear));
  return { verdict, worst, inputs: golden.length };

  function name(passes) {
    if (broken) return "NAN";
    if (passes) return "PASS";
    if (golden.length > 1 && spread <= noise && goldenSpread > noise) return "FIXED_OUTPUT";
    return atEnds && !goldenAtEnds ? "SATURATED" : "MISMATCH";
  }
}

/** What counts as an end of real outputs: 0 and 1 for probabilities, else the least and the most of ours. */
function limitsOf(outputs, golden) {
  const reach = (lists) => {
    let [low, high] = [Infinity, -Infinity];
    for (const list of lists) for (const value of list) [low, high] = [Math.min(low, value), Math.max(high, value)];
    return [low, high];
  };
  const [low, high] = reach(golden);
  return low >= 0 && high <= 1 ? [0, 1] : reach(outputs);
}
