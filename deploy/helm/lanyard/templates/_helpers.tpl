{{- define "lanyard.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "lanyard.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* claim is the volume that the data folder is in, where a process must find it again. */}}
{{- define "lanyard.claim" -}}
- metadata: { name: data }
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .Values.persistence.storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources: { requests: { storage: {{ .Values.persistence.size }} } }
{{- end }}

{{/* pod is the pod of a role: a dict of root, role (all, control, gateway), resources. */}}
{{- define "lanyard.pod" -}}
{{- $v := .root.Values -}}
metadata:
  labels:
    {{- include "lanyard.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  {{- with $v.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false # a Service called lanyard would set LANYARD_PORT and more
  terminationGracePeriodSeconds: {{ $v.terminationGracePeriodSeconds }}
  {{- with $v.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  containers:
    - name: lanyard
      image: {{ printf "%s:%s" $v.image.repository (default .root.Chart.AppVersion $v.image.tag) | quote }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: {{- concat (list "serve") $v.extraArgs | toYaml | nindent 8 }}
      env:
        {{- if ne .role "all" }}
        - { name: LANYARD_ROLE, value: {{ .role }} }
        {{- end }}
        # A folder of its own: what mounts a volume may change the mode of all that lies in its root.
        - { name: LANYARD_DATA, value: /var/lib/lanyard/data }
        - { name: LANYARD_TRUST_DOMAIN, value: {{ $v.trustDomain | quote }} }
        - { name: LANYARD_URL, value: {{ $v.url | quote }} }
        - { name: LANYARD_GATEWAY_URL, value: {{ $v.gatewayUrl | quote }} }
        - { name: LANYARD_HEALTH_LISTEN, value: "0.0.0.0:9464" }
        {{- if ne .role "gateway" }}
        - { name: LANYARD_LISTEN, value: "0.0.0.0:8440" }
        {{- end }}
        {{- if ne .role "control" }}
        - { name: LANYARD_GATEWAY_LISTEN, value: "0.0.0.0:8441" }
        {{- end }}
        {{- if eq .role "control" }}
        - { name: LANYARD_FEED_LISTEN, value: "0.0.0.0:{{ $v.control.feedPort }}" }
        {{- end }}
        {{- if eq .role "gateway" }}
        - { name: LANYARD_CONTROL, value: {{ default (printf "https://%s-control:%v" (include "lanyard.name" .root) $v.control.feedPort) $v.gateway.control | quote }} }
        {{- with $v.gateway.joinTokenSecretName }}
        - name: LANYARD_JOIN_TOKEN # not used any more once it has joined
          valueFrom: { secretKeyRef: { name: {{ . }}, key: token, optional: true } }
        {{- end }}
        {{- end }}
        {{- if $v.tls.secretName }}
        - { name: LANYARD_TLS_CERT, value: /etc/lanyard/tls/tls.crt }
        - { name: LANYARD_TLS_KEY, value: /etc/lanyard/tls/tls.key }
        {{- else }}
        - { name: LANYARD_INSECURE_HTTP, value: "true" }
        {{- end }}
        {{- if and $v.database.secretName (ne .role "gateway") }}
        - name: LANYARD_DATABASE
          valueFrom: { secretKeyRef: { name: {{ $v.database.secretName }}, key: url } }
        {{- end }}
        {{- if and $v.seal.key (ne .role "gateway") }}
        - { name: LANYARD_SEAL, value: {{ $v.seal.key | quote }} }
        {{- if $v.seal.tokenSecretName }}
        - { name: LANYARD_SEAL_TOKEN_FILE, value: /etc/lanyard/seal/token }
        {{- end }}
        {{- end }}
        - { name: LANYARD_DRAIN_NOTICE, value: {{ $v.drainNotice | quote }} }
        - { name: LANYARD_DRAIN, value: {{ $v.drain | quote }} }
        - { name: LANYARD_LOG_FORMAT, value: json }
        - { name: LANYARD_LOG_LEVEL, value: {{ $v.logLevel | quote }} }
        {{- with $v.otlpEndpoint }}
        - { name: LANYARD_OTLP_ENDPOINT, value: {{ . | quote }} }
        {{- end }}
        {{- with $v.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- if ne .role "gateway" }}
        - { name: control, containerPort: 8440 }
        {{- end }}
        {{- if ne .role "control" }}
        - { name: gateway, containerPort: 8441 }
        {{- end }}
        {{- if eq .role "control" }}
        - { name: feed, containerPort: {{ $v.control.feedPort }} }
        {{- end }}
        - { name: health, containerPort: 9464 }
      startupProbe: { httpGet: { path: /healthz, port: health }, periodSeconds: 2, failureThreshold: 150 }
      livenessProbe: { httpGet: { path: /healthz, port: health }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 }
      readinessProbe: { httpGet: { path: /readyz, port: health }, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 1 }
      resources: {{- toYaml .resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        - { name: data, mountPath: /var/lib/lanyard }
        - { name: tmp, mountPath: /tmp }
        {{- if $v.tls.secretName }}
        - { name: tls, mountPath: /etc/lanyard/tls, readOnly: true }
        {{- end }}
        {{- if and $v.seal.tokenSecretName (ne .role "gateway") }}
        - { name: seal, mountPath: /etc/lanyard/seal, readOnly: true }
        {{- end }}
  volumes:
    - { name: tmp, emptyDir: {} }
    {{- if eq .role "control" }}
    - { name: data, emptyDir: {} }
    {{- end }}
    {{- if $v.tls.secretName }}
    - { name: tls, secret: { secretName: {{ $v.tls.secretName }}, defaultMode: 0440 } }
    {{- end }}
    {{- if and $v.seal.tokenSecretName (ne .role "gateway") }}
    - { name: seal, secret: { secretName: {{ $v.seal.tokenSecretName }}, defaultMode: 0440 } }
    {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
