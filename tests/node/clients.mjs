// node clients.mjs URL IMAGE: OpenAI's and Cohere's SDKs with their defaults; IMAGE is a data: URL.
// Prints their vectors as JSON.
import { CohereClientV2 } from "cohere-ai";
import OpenAI from "openai";

const [url, image] = process.argv.slice(2);
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any" });
const input = ["a fox", { type: "image_url", image_url: { url: image } }];
const listed = await openai.embeddings.create({ model: "demo", input });
const cohere = new CohereClientV2({ environment: url, token: "any" });
const given = { model: "demo", inputType: "search_document", embeddingTypes: ["float"] };
const texts = await cohere.embed({ ...given, texts: ["a fox"] });
const images = await cohere.embed({ ...given, images: [image] });
console.log(JSON.stringify({
  openai: listed.data.map(({ embedding }) => embedding),
  cohere: [...texts.embeddings.float, ...images.embeddings.float],
}));
