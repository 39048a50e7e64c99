{{/* The topics of a sync: name -> config, and whether it has a single partition. As connectors/salmon/kafka/topics.py has them. */}}
{{- define "salmon.topics" -}}
{{- $bytes := dict "max.message.bytes" "8388608" -}}
{{- $log := merge (dict "cleanup.policy" "delete" "retention.ms" "604800000") $bytes -}}
{{- $letters := merge (dict "retention.ms" "2592000000") $log -}}
{{- $table := merge (dict "cleanup.policy" "compact" "delete.retention.ms" "604800000" "max.compaction.lag.ms" "86400000" "min.cleanable.dirty.ratio" "0.3" "segment.bytes" "134217728") $bytes -}}
{{- $small := merge (dict "max.compaction.lag.ms" "3600000" "min.cleanable.dirty.ratio" "0.1" "segment.bytes" "16777216") $table -}}
{{- $name := .Values.sync.name -}}
{{- $found := dict -}}
{{- range $object, $_ := .Values.sync.objects -}}
{{- $_ := set $found (printf "%s.changes.%s" $name $object) (dict "config" $log "single" false) -}}
{{- range $kind := list "records" "state" "writes.salesforce" "writes.mongodb" "identity" -}}
{{- $_ := set $found (printf "%s.%s.%s" $name $kind $object) (dict "config" $table "single" false) -}}
{{- end -}}
{{- end -}}
{{- range $kind := list "offsets" "handled" "status" -}}
{{- $_ := set $found (printf "%s.%s" $name $kind) (dict "config" $small "single" true) -}}
{{- end -}}
{{- $_ := set $found (printf "%s.conflicts" $name) (dict "config" $log "single" true) -}}
{{- range $connector, $_ := .Values.connectors -}}
{{- $_ := set $found (printf "%s.signals.%s" $name $connector) (dict "config" $log "single" true) -}}
{{- $_ := set $found (printf "%s.dlq.%s" $name $connector) (dict "config" $letters "single" true) -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}
