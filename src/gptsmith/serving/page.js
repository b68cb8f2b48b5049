"use strict";
// Texts are only ever set as textContent: nothing in them is taken for markup.
const byId = (id) => document.getElementById(id);

function added(tag, className, text, parent) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  parent.append(element);
  return element;
}

async function post(path, body, signal) {
  const response = await fetch(path, {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body), signal,
  });
  if (!response.ok) {
    const said = await response.json().catch(() => null);
    throw new Error(said?.error?.message ?? `${response.status} ${response.statusText}`);
  }
  return response;
}

async function classify(text, place) {
  const {results: [result]} = await (await post("/classify", {texts: [text]})).json();
  const table = document.createElement("table");
  const rows = Object.entries(result.probabilities).sort((a, b) => b[1] - a[1]);
  for (const [label, probability] of rows) {
    const row = table.insertRow();
    row.insertCell().textContent = label;
    const meter = document.createElement("meter");
    meter.value = probability;
    row.insertCell().append(meter);
    row.insertCell().textContent = probability.toFixed(3);
  }
  place.append(table);
  if (result.truncated) added("p", "answer", "The text was longer than the model reads; its end was left out.", place);
}

async function chat(model, text, place, signal) {
  const answer = added("p", "answer", "", place);
  const messages = [{role: "user", content: text}];
  const response = await post("/v1/chat/completions", {model, messages, stream: true}, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const {done, value} = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data !== "[DONE]") answer.textContent += JSON.parse(data).choices[0]?.delta?.content ?? "";
    }
  }
}

async function main() {
  const {model, task} = await (await fetch("/health")).json();
  byId("name").textContent = model;
  document.title = `${model} - gptsmith`;
  byId("label").textContent = task === "chat" ? "Message (answered by itself, without those before it)" : "Text to classify";
  byId("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = byId("text").value;
    const place = added("section", "", "", byId("answers"));
    added("p", "asked", text, place);
    const stopping = new AbortController();
    byId("stop").onclick = () => stopping.abort();
    byId("send").disabled = true;
    byId("stop").hidden = task !== "chat";
    try {
      await (task === "chat" ? chat(model, text, place, stopping.signal) : classify(text, place));
      byId("text").value = "";
    } catch (error) {
      added("p", "error", error.name === "AbortError" ? "(stopped)" : error.message, place);
    }
    byId("send").disabled = false;
    byId("stop").hidden = true;
  });
  byId("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!byId("send").disabled) byId("form").requestSubmit();
    }
  });
  byId("text").focus();
}

main();
