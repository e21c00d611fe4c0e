// office_work.mjs GATE TOKENS: a day's work with Google's and Microsoft's own clients, through the gateway. Prints what each call came to, as JSON.
import { ResponseType } from "@microsoft/microsoft-graph-client";
import { at, call, events, files, graph, mail, out } from "./office_clients.mjs";

const me = { userId: "me" };
const raw = (to, subject) => Buffer.from(`To: ${to}\r\nSubject: ${subject}\r\n\r\nthere`).toString("base64url");
const subjectOf = async (id) => (await mail.users.messages.get({ ...me, id, format: "metadata", metadataHeaders: ["Subject", "From"] }, at("mail"))).data.payload.headers.find((h) => h.name === "Subject").value;

await call("gmail pages", async () => {
	const subjects = [];
	let pageToken;
	do {
		const { data } = await mail.users.messages.list({ ...me, maxResults: 1, q: "in:inbox", pageToken }, at("mail"));
		for (const m of data.messages ?? []) subjects.push(await subjectOf(m.id));
		pageToken = data.nextPageToken;
	} while (pageToken);
	return subjects;
});
await call("gmail draft, send it", async () => {
	const { data } = await mail.users.drafts.create({ ...me, requestBody: { message: { raw: raw("ben@example.com", "By draft") } } }, at("mail"));
	return subjectOf((await mail.users.drafts.send({ ...me, requestBody: { id: data.id } }, at("mail"))).data.id);
});
await call("gmail upload", async () =>
	subjectOf((await mail.users.messages.send({ ...me, requestBody: {}, media: { mimeType: "message/rfc822", body: "To: ben@example.com\r\nSubject: Uploaded\r\n\r\nx" } }, at("mail"))).data.id));
await call("gmail label", async () => {
	const { data } = await mail.users.messages.list({ ...me, q: "from:ben@example.com" }, at("mail"));
	return (await mail.users.messages.modify({ ...me, id: data.messages[0].id, requestBody: { addLabelIds: ["STARRED"] } }, at("mail"))).data.labelIds.includes("STARRED");
});
await call("gmail thread", async () => {
	const { data } = await mail.users.threads.list({ ...me, q: "from:ben@example.com" }, at("mail"));
	return (await mail.users.threads.get({ ...me, id: data.threads[0].id }, at("mail"))).data.messages.length;
});

await call("drive pages", async () => {
	const names = [];
	let pageToken;
	do {
		const { data } = await files.files.list({ pageSize: 1, q: "'root' in parents", fields: "nextPageToken,files(id,name)", pageToken }, at("drive"));
		names.push(...data.files.map((f) => f.name));
		pageToken = data.nextPageToken;
	} while (pageToken);
	return names.sort();
});
let made;
await call("drive create", async () => {
	made = (await files.files.create({ requestBody: { name: "by google.txt" }, media: { mimeType: "text/plain", body: "IBAN DE02120300000000202051" }, fields: "id,name" }, at("drive"))).data.id;
	return (await files.files.get({ fileId: made, alt: "media" }, at("drive", { responseType: "text" }))).data;
});
await call("drive rename", async () => {
	await files.files.update({ fileId: made, requestBody: { name: "renamed.txt" } }, at("drive"));
	return (await files.files.get({ fileId: made, fields: "name" }, at("drive"))).data.name;
});
const share = (address) => files.permissions.create({ fileId: made, requestBody: { type: "user", role: "reader", emailAddress: address } }, at("drive"));
await call("drive share inside", async () => (await share("ben@example.com")).status);
await call("drive share outside", async () => (await share("eve@evil.example")).status);
await call("drive delete", async () => (await files.files.delete({ fileId: made }, at("drive"))).status);

const hour = (day) => ({ start: { dateTime: `2027-01-0${day}T10:00:00Z` }, end: { dateTime: `2027-01-0${day}T11:00:00Z` } });
const calendarId = "primary";
await call("calendar pages", async () => {
	const titles = [];
	let pageToken;
	do {
		const { data } = await events.events.list({ calendarId, maxResults: 1, pageToken }, at("calendar"));
		titles.push(...data.items.map((e) => e.summary));
		pageToken = data.nextPageToken;
	} while (pageToken);
	return titles.sort();
});
await call("calendar make, change, delete", async () => {
	const { data } = await events.events.insert({ calendarId, requestBody: { summary: "Talk", ...hour(4), attendees: [{ email: "ben@example.com" }] } }, at("calendar"));
	await events.events.patch({ calendarId, eventId: data.id, requestBody: { summary: "Long talk" } }, at("calendar"));
	const seen = (await events.events.get({ calendarId, eventId: data.id }, at("calendar"))).data.summary;
	await events.events.delete({ calendarId, eventId: data.id }, at("calendar"));
	return seen;
});
await call("calendar invite outside", async () => (await events.events.insert({ calendarId, requestBody: { summary: "x", ...hour(5), attendees: [{ email: "eve@evil.example" }] } }, at("calendar"))).status);

const letter = (to, subject) => ({ subject, body: { contentType: "text", content: "there" }, toRecipients: [{ emailAddress: { address: to } }] });
const subjects = async () => (await graph.api("/me/mailFolders/sentitems/messages").select("subject").top(50).get()).value.map((m) => m.subject);
await call("graph get", async () => {
	const { value } = await graph.api("/me/messages").filter("from/emailAddress/address eq 'ben@example.com'").select("id").get();
	const m = await graph.api(`/me/messages/${value[0].id}`).get();
	return [m.subject, m.from.emailAddress.address, m.body.content];
});
await call("graph draft", async () => {
	const { id } = await graph.api("/me/messages").post(letter("ben@example.com", "By Graph's draft"));
	const m = await graph.api(`/me/messages/${id}`).get();
	return [m.subject, m.isDraft];
});
await call("graph send", async () => {
	await graph.api("/me/sendMail").post({ message: letter("ben@example.com", "By Graph") });
	return (await subjects()).includes("By Graph");
});
await call("graph reply", async () => {
	const { value } = await graph.api("/me/messages").filter("from/emailAddress/address eq 'ben@example.com'").select("id").get();
	await graph.api(`/me/messages/${value[0].id}/reply`).post({ comment: "Yes" });
	return (await subjects()).includes("Re: Lunch on Thursday?");
});
await call("graph move", async () => {
	const { value } = await graph.api("/me/messages").filter("from/emailAddress/address eq 'ben@example.com'").select("id").get();
	const { id } = await graph.api(`/me/messages/${value[0].id}/move`).post({ destinationId: "archive" });
	return (await graph.api("/me/mailFolders/archive/messages").get()).value.some((m) => m.id === id);
});
await call("graph create", async () => {
	const { id } = await graph.api("/me/drive/root/children").post({ name: "by graph.txt", file: {} });
	await graph.api(`/me/drive/items/${id}/content`).header("Content-Type", "text/plain").put("IBAN DE02120300000000202051");
	made = id;
	return graph.api(`/me/drive/items/${id}/content`).responseType(ResponseType.TEXT).get();
});
const invite = (address) => graph.api(`/me/drive/items/${made}/invite`).post({ recipients: [{ email: address }], roles: ["read"], requireSignIn: true, sendInvitation: true });
await call("graph share inside", async () => (await invite("ben@example.com"), "shared"));
await call("graph share outside", async () => (await invite("eve@evil.example"), "shared"));
const at10 = (day) => ({ start: { dateTime: `2027-01-0${day}T10:00:00`, timeZone: "UTC" }, end: { dateTime: `2027-01-0${day}T11:00:00`, timeZone: "UTC" } });
await call("graph make, change, delete", async () => {
	const { id } = await graph.api("/me/events").post({ subject: "Talk", ...at10(4), attendees: [{ type: "required", emailAddress: { address: "ben@example.com" } }] });
	await graph.api(`/me/events/${id}`).patch({ subject: "Long talk" });
	const { value } = await graph.api("/me/calendarView").query({ startDateTime: "2027-01-04T00:00:00Z", endDateTime: "2027-01-05T00:00:00Z" }).get();
	await graph.api(`/me/events/${id}`).delete();
	return value.map((e) => e.subject);
});
await call("graph invite outside", async () => (await graph.api("/me/events").post({ subject: "x", ...at10(5), attendees: [{ emailAddress: { address: "eve@evil.example" } }] })).id);
await call("graph send outside", async () => (await graph.api("/me/sendMail").post({ message: letter("eve@evil.example", "x") }), "sent"));

console.log(JSON.stringify(out));
