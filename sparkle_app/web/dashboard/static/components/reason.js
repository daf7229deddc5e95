// Why a record became a dead letter: the worker's word, and what it means.

import { el } from "../dom.js";
import { t } from "../language.js";
import { visible } from "../names.js";

/** All reasons, in the order of the stages that find them. */
export const REASONS = [
  "not_json", "bad_field", "bad_hostname", "bad_datetime", "bad_base64", "unknown_config", "undecryptable",
  "bad_payload", "unknown_plugin", "invalid_value", "too_many_metrics", "refused_by_database",
];

/** A reason as text. A worker of a later version may have others. */
export const reasonText = (reason) => (REASONS.includes(reason) ? t(`reason.${reason}`) : visible(reason));

/**
 * What a reason means, and what to do, as a list of two entries of a <dl>; none of an unknown one.
 *
 * @param {string} config the config id, as the record says.
 */
export function explanation(reason, config) {
  if (!REASONS.includes(reason)) return [];
  return [
    [t("deadLetter.means"), t(`reason.means.${reason}`)],
    [t("deadLetter.action"), t(`reason.action.${reason}`, { config: visible(config) })],
  ].map(([term, text]) => [el("dt", {}, term), el("dd", {}, text)]);
}
