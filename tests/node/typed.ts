// Every route that embeds, through the types that openapi-typescript makes of the document.
// tsc compiles it beside schema.d.ts; `node typed.js URL IMAGE` prints vectors and statuses as JSON.
import createClient from "openapi-fetch";
import type { paths } from "./schema";

const [url, image] = process.argv.slice(2);
const { GET, POST } = createClient<paths, "application/json">({ baseUrl: url });
const file = await (await fetch(image)).blob();
const form = (fields: Record<string, string | Blob | Blob[]>) => () => {
  const data = new FormData();
  for (const [name, values] of Object.entries(fields)) {
    for (const value of Array.isArray(values) ? values : [values]) {
      if (typeof value === "string") data.append(name, value);
      else data.append(name, value, "fox.png");
    }
  }
  return data;
};

const texts = await POST("/embed/text", { body: { texts: ["a fox"] } });
const urls = await POST("/embed/image", { body: { urls: [image] } });
const upload = await POST("/embed/image", {
  body: { files: [] },
  bodySerializer: form({ files: [file, file] }),
});
const entries = JSON.stringify({ clip: { visual: { modelName: "demo" } } });
const answers = [
  texts,
  urls,
  upload,
  await POST("/embed/mixed", { body: { texts: ["a fox"] } }),
  await POST("/embed/items", { body: { items: [{ text: "a fox", url: image }] } }),
  await POST("/rank", { body: { query: { text: "a fox" }, candidates: [{ url: image }] } }),
  await POST("/v1/embeddings", { body: { input: ["a fox", { text: "a", image }] } }),
  await POST("/openai/deployments/{id}/embeddings", {
    params: { path: { id: "demo" } },
    body: { input: "a fox" },
  }),
  await POST("/embeddings_image", { body: { input: image } }),
  await GET("/v1/models"),
  await GET("/v1/models/{id}", { params: { path: { id: "demo" } } }),
  await POST("/v2/embed", { body: { texts: ["a fox"] } }),
  await POST("/v1/embed", { body: { texts: ["a fox"] } }),
  await POST("/v1/multimodalembeddings", {
    body: { inputs: [{ content: [{ type: "image_base64", image_base64: image }] }] },
  }),
  await POST("/api/embed", { body: { model: "demo", input: "a fox" } }),
  await POST("/embed", { body: { inputs: ["a fox"] } }),
  await POST("/v1/embeddings", {
    body: { messages: [{ role: "user", content: [{ type: "text", text: "a fox" }] }] },
  }),
  await POST("/vectorize", { body: { texts: ["a fox"] } }),
  await GET("/meta"),
  await POST("/bigquery", { body: { calls: [["a fox"]] } }),
  await POST("/predict", { body: { entries }, bodySerializer: form({ entries, image: file }) }),
  await GET("/health"),
  await GET("/"),
];
console.log(JSON.stringify({
  statuses: answers.map(({ response }) => response.status),
  text: texts.data?.embeddings[0],
  image: urls.data?.embeddings[0],
  uploads: upload.data?.embeddings,
}));
