// Words as the language has them, by the browser's Intl.Segmenter: Chinese and Japanese write no spaces between them.

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });
// The segmenter's time grows with the square of the text: 60,000 characters at once take a second, in stretches of this
// length 20 ms. A stretch ends at a space or at the end of a sentence where there is one.
const STRETCH = /[^]{1,500}(?:\s+|[。，、；：！？]|$)|[^]{1,500}/gu;

// [{segment, isWordLike}, ...]; the segments make up the text.
export const segments = (text) => (text.match(STRETCH) ?? []).flatMap((stretch) => [...segmenter.segment(stretch)]);

export const countWords = (text) => segments(text).filter(({ isWordLike }) => isWordLike).length;
