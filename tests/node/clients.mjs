// node clients.mjs URL IMAGE: the SDKs of OpenAI and Cohere, LangChain and the AI SDK, with their
// defaults, and the requests of an Immich server; IMAGE is a data: URL. Prints vectors as JSON.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { OpenAIEmbeddings } from "@langchain/openai";
import { embedMany } from "ai";
import { CohereClientV2 } from "cohere-ai";
import OpenAI from "openai";

const [url, image] = process.argv.slice(2);
const baseURL = `${url}/v1`;
const openai = new OpenAI({ baseURL, apiKey: "any" });
const input = ["a fox", { type: "image_url", image_url: { url: image } }];
const listed = await openai.embeddings.create({ model: "demo", input });
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
const bytes = await (await fetch(image)).arrayBuffer();
console.log(JSON.stringify({
  openai: listed.data.map(({ embedding }) => embedding),
  cohere: [...texts.embeddings.float, ...images.embeddings.float],
  langchain: [...await langchain.embedDocuments(["a fox"]), await langchain.embedQuery("a fox")],
  ai: many.embeddings,
  immich: [
    await predict("textual", "text", "a fox"),
    await predict("visual", "image", new Blob([bytes])),
  ],
}));
