{{- define "salmon.fullname" -}}
{{- if contains "salmon" .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- else -}}{{ printf "%s-salmon" (.Release.Name | trunc 33 | trimSuffix "-") }}{{- end -}}
{{- end -}}

{{- define "salmon.labels" -}}
{{ include "salmon.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "salmon.selector" -}}
app.kubernetes.io/name: salmon
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "salmon.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}{{ .Values.serviceAccount.name | default (include "salmon.fullname" .) }}{{- else -}}{{ .Values.serviceAccount.name | default "default" }}{{- end -}}
{{- end -}}

{{- define "salmon.image" -}}
{{- if .Values.image.digest -}}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{- else -}}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{- end -}}
{{- end -}}

{{- define "salmon.configMap" -}}
{{- .Values.existingConfigMap | default (printf "%s-config" (include "salmon.fullname" .)) -}}
{{- end -}}

{{/* sync.yaml: what the values say, with what a pod needs where they say nothing. */}}
{{- define "salmon.sync" -}}
{{- if not .Values.sync -}}{{ fail "sync is empty. Give the configuration of your sync there (what is in sync.yaml), or the name of a ConfigMap that has it as existingConfigMap." }}{{- end -}}
{{- $rest := dict "host" "0.0.0.0" "port" (int .Values.port) "advertised_host" "${env:SALMON_ADVERTISED_HOST:localhost}" -}}
{{- $log := dict "level" .Values.logLevel -}}
{{- $merge := dict "state_dir" "/var/lib/salmon" -}}
{{- $set := dict "rest" $rest "merge" $merge "log" $log -}}
{{- if .Values.api.enabled -}}{{- $_ := set $set "api" (dict "host" "0.0.0.0" "port" (int .Values.api.port)) -}}{{- end -}}
{{- toYaml (merge (deepCopy .Values.sync) $set) -}}
{{- end -}}

{{- define "salmon.ports" -}}
{{- $found := dict -}}
{{- range $name, $connector := .Values.connectors -}}
{{- if $connector.enabled -}}
{{- $host := printf "%s-%s.%s.svc" (include "salmon.fullname" $) $name $.Release.Namespace -}}
{{- $scheme := include "salmon.scheme" (dict "root" $ "component" $name) | lower -}}
{{- $_ := set $found $name (dict "url" (printf "%s://%s:%d" $scheme $host (int $.Values.port))) -}}
{{- end -}}
{{- end -}}
{{- toPrettyJson $found -}}
{{- end -}}

{{/* Of: root, component. */}}
{{- define "salmon.scheme" -}}
{{- if dig (ternary "api" "rest" (eq .component "api")) "tls" "" (.root.Values.sync | default dict) -}}HTTPS{{- else -}}HTTP{{- end -}}
{{- end -}}

{{- define "salmon.probe" -}}
httpGet: {path: {{ .path }}, port: http, scheme: {{ include "salmon.scheme" . }}}
{{ toYaml .timing }}
{{- end -}}

{{- define "salmon.checksum" -}}
{{- if not .Values.existingConfigMap }}
checksum/config: {{ include "salmon.sync" . | sha256sum }}
{{- end }}
{{- end -}}

{{- define "salmon.volumes" -}}
- name: config
  configMap: {name: {{ .configMap }}}
- name: tmp
  emptyDir: {}
{{- range $number, $file := .root.Values.secrets.files }}
- name: secret-{{ $number }}
  secret:
    secretName: {{ $file.secret }}
    defaultMode: 0440
    {{- with $file.items }}
    items: {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}
{{- range $number, $csi := .root.Values.secrets.csi }}
- name: csi-{{ $number }}
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes: {secretProviderClass: {{ $csi.secretProviderClass }}}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "salmon.mounts" -}}
- {name: config, mountPath: /etc/salmon, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- range $number, $file := .Values.secrets.files }}
- {name: secret-{{ $number }}, mountPath: {{ $file.mountPath }}, readOnly: true}
{{- end }}
{{- range $number, $csi := .Values.secrets.csi }}
- {name: csi-{{ $number }}, mountPath: {{ $csi.mountPath }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "salmon.envFrom" -}}
{{- range . }}
- secretRef: {name: {{ . }}}
{{- end }}
{{- end -}}

{{- define "salmon.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "salmon.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "salmon.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The pod of a process that runs on. Of: root, component, port, resources. */}}
{{- define "salmon.pod" -}}
metadata:
  labels:
    {{- include "salmon.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with .root.Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    {{- include "salmon.checksum" .root | nindent 4 }}
    {{- with .root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "salmon.serviceAccount" .root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .root.Values.terminationGracePeriodSeconds }}
  securityContext: {{- include "salmon.podSecurity" .root | nindent 4 }}
  {{- include "salmon.placement" .root | nindent 2 }}
  {{- if .root.Values.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: {{ $.root.Values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "salmon.selector" $.root | nindent 10 }}
          app.kubernetes.io/component: {{ $.component }}
    {{- end }}
  {{- end }}
  containers:
    - name: salmon
      image: {{ include "salmon.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: [run, {{ .component }}, --config, /etc/salmon/sync.yaml, --log-format, json]
      ports:
        - {name: http, containerPort: {{ .port }}, protocol: TCP}
      env:
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: POD_NAMESPACE
          valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
        - name: SALMON_ADVERTISED_HOST
          value: $(POD_NAME).{{ include "salmon.fullname" .root }}-{{ .component }}.$(POD_NAMESPACE).svc
        {{- with .root.Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .root.Values.secrets.env }}
      envFrom: {{- include "salmon.envFrom" . | nindent 8 }}
      {{- end }}
      securityContext: {{- include "salmon.containerSecurity" .root | nindent 8 }}
      startupProbe: {{- include "salmon.probe" (dict "root" .root "component" .component "path" "/health/live" "timing" .root.Values.probes.startup) | nindent 8 }}
      livenessProbe: {{- include "salmon.probe" (dict "root" .root "component" .component "path" "/health/live" "timing" .root.Values.probes.liveness) | nindent 8 }}
      readinessProbe: {{- include "salmon.probe" (dict "root" .root "component" .component "path" "/health/ready" "timing" .root.Values.probes.readiness) | nindent 8 }}
      resources: {{- toYaml .resources | nindent 8 }}
      volumeMounts:
        {{- include "salmon.mounts" .root | nindent 8 }}
        {{- if eq .component "merge" }}
        - {name: cache, mountPath: /var/lib/salmon}
        {{- end }}
  volumes:
    {{- include "salmon.volumes" (dict "root" .root "configMap" (include "salmon.configMap" .root)) | nindent 4 }}
    {{- if and (eq .component "merge") (not .root.Values.connectors.merge.cache.enabled) }}
    - name: cache
      emptyDir: {}
    {{- end }}
{{- end -}}

{{/* A Job before an installation or upgrade. Of: root, component, words, weight, env, deadline, mounts, volumes. */}}
{{- define "salmon.job" -}}
{{- $name := include "salmon.fullname" .root -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $name }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "salmon.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: {{ .weight | quote }}
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  backoffLimit: 3
  activeDeadlineSeconds: {{ .deadline }}
  template:
    metadata:
      labels:
        {{- include "salmon.labels" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {{- include "salmon.podSecurity" .root | nindent 8 }}
      {{- include "salmon.placement" .root | nindent 6 }}
      containers:
        - name: salmon
          image: {{ include "salmon.image" .root }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args: {{- toYaml .words | nindent 12 }}
          {{- with .root.Values.extraEnv }}
          env: {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with .env }}
          envFrom: {{- include "salmon.envFrom" . | nindent 12 }}
          {{- end }}
          securityContext: {{- include "salmon.containerSecurity" .root | nindent 12 }}
          resources: {requests: {cpu: 100m, memory: 192Mi}, limits: {memory: 512Mi}}
          volumeMounts:
            {{- include "salmon.mounts" .root | nindent 12 }}
            {{- with .mounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        {{- include "salmon.volumes" (dict "root" .root "configMap" (.root.Values.existingConfigMap | default (printf "%s-jobs" $name))) | nindent 8 }}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}
