// node embed_many.mjs URL COUNT: embedMany of the AI SDK over COUNT values, with all its defaults.
// Prints what came as JSON; ends with 1 if it failed.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany } from "ai";

const [url, count] = process.argv.slice(2);
const model = createOpenAICompatible({ name: "here", baseURL: `${url}/v1` }).embeddingModel("demo");
const values = Array.from({ length: Number(count) }, (_, number) => `a fox with the number ${number}`);
const { embeddings, usage } = await embedMany({ model, values });
const dimensions = [...new Set(embeddings.map((vector) => vector.length))];
console.log(JSON.stringify({ rows: embeddings.length, dimensions, tokens: usage.tokens }));
