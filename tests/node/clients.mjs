// node clients.mjs URL IMAGE: the SDKs of OpenAI, Cohere, Ollama, Voyage and Hugging Face, LangChain
// and the AI SDK, with their defaults, and the requests of an Immich server; IMAGE is a data: URL.
// Prints vectors as JSON.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { InferenceClient } from "@huggingface/inference";
import { OpenAIEmbeddings } from "@langchain/openai";
import { embedMany } from "ai";
import { CohereClientV2 } from "cohere-ai";
import { Ollama } from "ollama";
import OpenAI, { AzureOpenAI } from "openai";
import { VoyageAIClient } from "voyageai";

const [url, image] = process.argv.slice(2);
const baseURL = `${url}/v1`;
const openai = new OpenAI({ baseURL, apiKey: "any" });
const input = ["a fox", { type: "image_url", image_url: { url: image } }];
const listed = await openai.embeddings.create({ model: "demo", input });
const azure = new AzureOpenAI({ endpoint: url, apiKey: "any", apiVersion: "2024-10-21" });
const deployed = await azure.embeddings.create({ model: "demo", input: "a fox" });
const cohere = new CohereClientV2({ environment: url, token: "any" });
const given = { model: "demo", inputType: "search_document", embeddingTypes: ["float"] };
const texts = await cohere.embed({ ...given, texts: ["a fox"] });
const images = await cohere.embed({ ...given, images: [image] });
const langchain = new OpenAIEmbeddings({
  model: "demo",
  apiKey: "any",
  configuration: { baseURL },
});
const model = createOpenAICompatible({ name: "here", baseURL }).embeddingModel("demo");
const many = await embedMany({ model, values: ["a fox"] });
const predict = async (tower, name, value) => {
  const form = new FormData();
  form.append("entries", JSON.stringify({ clip: { [tower]: { modelName: "demo", options: {} } } }));
  form.append(name, value);
  const response = await fetch(new URL("/predict", url), { method: "POST", body: form });
  return JSON.parse((await response.json()).clip);
};
const ollama = await new Ollama({ host: url }).embed({ model: "demo", input: ["a fox"] });
const voyage = new VoyageAIClient({ apiKey: "any", environment: baseURL });
const plain = await voyage.embed({ model: "demo", input: ["a fox"] });
const both = await voyage.multimodalEmbed({
  model: "demo",
  inputs: [
    { content: [{ type: "text", text: "a fox" }] },
    { content: [{ type: "image_base64", imageBase64: image }] },
  ],
});
const face = new InferenceClient("any");
const bytes = await (await fetch(image)).arrayBuffer();
console.log(JSON.stringify({
  openai: [...listed.data, ...deployed.data].map(({ embedding }) => embedding),
  cohere: [...texts.embeddings.float, ...images.embeddings.float],
  langchain: [...await langchain.embedDocuments(["a fox"]), await langchain.embedQuery("a fox")],
  ai: many.embeddings,
  immich: [
    await predict("textual", "text", "a fox"),
    await predict("visual", "image", new Blob([bytes])),
  ],
  ollama: ollama.embeddings,
  voyage: [...plain.data, ...both.data].map(({ embedding }) => embedding),
  huggingface: [
    ...await face.featureExtraction({ endpointUrl: url, inputs: ["a fox"] }),
    ...await face.endpoint(`${url}/embed`).featureExtraction({ inputs: ["a fox"] }),
  ],
}));
