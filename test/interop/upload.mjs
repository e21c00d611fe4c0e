// upload.mjs GATE TOKENS FILE: Google's and Microsoft's own clients bring a large file through the gateway, which has TLS. Prints what each call came to, as JSON.
import { createReadStream, readFileSync } from "node:fs";
import { drive } from "@googleapis/drive";
import { auth } from "@googleapis/calendar";
import { AuthenticationHandler, Client, FileUpload, HTTPMessageHandler, LargeFileUploadTask, OneDriveLargeFileUploadTask, StreamUpload } from "@microsoft/microsoft-graph-client";

const [gate, given, file] = process.argv.slice(2);
const tokens = JSON.parse(given);
const content = readFileSync(file);
const out = {};

async function call(name, f) {
	try {
		out[name] = (await f()) ?? null;
	} catch (e) {
		out[name] = { status: e.statusCode ?? e.status ?? e.code ?? e.response?.status ?? 0, message: e.message };
	}
}

const who = new auth.OAuth2();
who.setCredentials({ access_token: tokens.drive, token_type: "Bearer", expiry_date: Date.now() + 3_600_000 });
await call("google in one", async () => {
	const { data } = await drive({ version: "v3", auth: who }).files.create({ requestBody: { name: "one.bin" }, media: { mimeType: "application/octet-stream", body: createReadStream(file) } }, { rootUrl: `${gate}/drive/` });
	return data.id.length > 0;
});
// Google's client in JavaScript has no resumable uploads; this is the protocol with its HTTP client.
await call("google in several", async () => {
	const begun = await who.request({ method: "POST", url: `${gate}/drive/upload/drive/v3/files?uploadType=resumable`, headers: { "X-Upload-Content-Length": String(content.length) }, data: { name: "several.bin" } });
	const url = begun.headers.get("location");
	const size = 8 << 20;
	let res;
	for (let at = 0; at < content.length; at += size) {
		const part = content.subarray(at, at + size);
		res = await who.request({ method: "PUT", url, data: part, headers: { "Content-Range": `bytes ${at}-${at + part.length - 1}/${content.length}` }, validateStatus: (s) => s === 200 || s === 308, redirect: "manual" });
		if (res.status === 308) out["google so far"] = [...(out["google so far"] ?? []), res.headers.get("range")];
	}
	return res.data.id.length > 0;
});

// With the client's own way to show a token: the gateway is one of its hosts.
const session = new AuthenticationHandler({ getAccessToken: async () => tokens.graph });
session.setNext(new HTTPMessageHandler());
const graph = Client.initWithMiddleware({ middleware: session, baseUrl: `${gate}/graph/`, defaultVersion: "v1.0", customHosts: new Set([new URL(gate).hostname]) });
const bytes = content.buffer.slice(content.byteOffset, content.byteOffset + content.byteLength);

let made;
await call("graph new", async () => {
	let parts = 0;
	const task = await OneDriveLargeFileUploadTask.create(graph, new Uint8Array(bytes), { fileName: "graph.bin", path: "/", conflictBehavior: "rename", rangeSize: 5 << 20, uploadEventHandlers: { progress: () => parts++ } });
	made = (await task.upload()).responseBody.id;
	return parts;
});
await call("graph over it", async () => {
	const begun = await LargeFileUploadTask.createUploadSession(graph, `/me/drive/items/${made}/createUploadSession`, { item: {} });
	out["graph leads to the gateway"] = begun.url.startsWith(`${gate}/graph/`);
	const task = new LargeFileUploadTask(graph, new StreamUpload(createReadStream(file), "graph.bin", content.length), begun, { rangeSize: 10 << 20 });
	return (await task.upload()).responseBody.id === made;
});
await call("graph given up and gone on with", async () => {
	const begun = await LargeFileUploadTask.createUploadSession(graph, "/me/drive/root:/never.bin:/createUploadSession", { item: { "@microsoft.graph.conflictBehavior": "fail" } });
	const task = new LargeFileUploadTask(graph, new FileUpload(bytes, "never.bin", content.length), begun);
	await task.uploadSlice(bytes.slice(0, 1000), { minValue: 0, maxValue: 999 }, content.length);
	const { nextExpectedRanges } = await task.getStatus();
	return [nextExpectedRanges, (await task.cancel()).status];
});
await call("graph over a name", async () => (await LargeFileUploadTask.createUploadSession(graph, "/me/drive/root:/suppliers.csv:/createUploadSession", { item: { "@microsoft.graph.conflictBehavior": "replace" } })).url);

console.log(JSON.stringify(out));
