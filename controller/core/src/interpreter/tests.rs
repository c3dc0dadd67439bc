#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::expect_used, clippy::panic, reason = "tests")]

mod jobs;
mod needs;
mod properties;
mod sums;
mod table;

use serde_json::json;

use super::{real::pair, *};

fn manifest(value: Value) -> Manifest {
    Manifest::from_value(value).unwrap()
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "prod"}, "spec": spec})
}

/// A Deployment as bj-prod serves it in the middle of a rollout.
fn live_deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "prod", "generation": 4,
            "annotations": {"resourcetemplate.karmada.io/generation": "9"},
        },
        "spec": {"replicas": 5},
        "status": {
            "observedGeneration": 4, "replicas": 5, "updatedReplicas": 5, "readyReplicas": 5, "availableReplicas": 5,
            "collisionCount": 1, "conditions": [{"type": "Available", "status": "True"}],
        },
    })
}

fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    *value.pointer_mut(pointer).unwrap() = new;
    value
}

mod deployments {
    use super::*;

    #[test]
    fn replicas_are_read_and_absent_means_the_api_default_of_one() {
        let count = |spec| replicas(&manifest(deployment(spec))).unwrap().count;
        assert_eq!(count(json!({"replicas": 10})), 10);
        assert_eq!(count(json!({"replicas": 0})), 0);
        assert_eq!(count(json!({})), 1);
        assert_eq!(count(json!({"replicas": i64::from(i32::MAX) + 5})), i32::MAX);
        assert_eq!(count(json!({"replicas": -3})), 0);
    }

    #[test]
    fn revising_sets_exactly_the_replicas() {
        let mut web = manifest(deployment(json!({"replicas": 10, "paused": true})));
        assert!(revise_replicas(&mut web, 3));
        assert_eq!(web.value()["spec"], json!({"replicas": 3, "paused": true}));
    }

    #[test]
    fn the_status_that_travels_has_the_counters_and_three_generations() {
        assert_eq!(
            reflect_status(&live_deployment()).unwrap(),
            json!({
                "generation": 4, "resourceTemplateGeneration": 9, "observedGeneration": 4,
                "replicas": 5, "updatedReplicas": 5, "readyReplicas": 5, "availableReplicas": 5,
            })
        );
    }

    #[test]
    fn no_status_yet_reports_nothing() {
        assert_eq!(reflect_status(&deployment(json!({"replicas": 1}))), None);
    }

    #[test]
    fn healthy_only_when_observed_updated_and_available() {
        let rows = [
            ("all up", live_deployment(), ResourceHealth::Healthy),
            ("spec not observed", with(live_deployment(), "/metadata/generation", json!(5)), ResourceHealth::Unhealthy),
            (
                "one not updated",
                with(live_deployment(), "/status/updatedReplicas", json!(4)),
                ResourceHealth::Unhealthy,
            ),
            (
                "one not available",
                with(live_deployment(), "/status/availableReplicas", json!(4)),
                ResourceHealth::Unhealthy,
            ),
            (
                "scaled down, old ones leave",
                with(live_deployment(), "/spec/replicas", json!(3)),
                ResourceHealth::Healthy,
            ),
            ("no status", deployment(json!({"replicas": 1})), ResourceHealth::Unhealthy),
            ("zero wanted, nothing observed", deployment(json!({"replicas": 0})), ResourceHealth::Healthy),
        ];
        for (row, live, expected) in rows {
            assert_eq!(health(&live), expected, "{row}");
        }
    }

    fn item(cluster: &str, ready: i64, generation: i64, observed: i64, template: i64) -> StatusItem<'_> {
        StatusItem {
            cluster,
            status: Some(json!({
                "replicas": ready + 1, "readyReplicas": ready, "updatedReplicas": ready, "availableReplicas": ready,
                "unavailableReplicas": 1, "generation": generation, "observedGeneration": observed,
                "resourceTemplateGeneration": template,
            })),
        }
    }

    fn template() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "generation": 9},
            "spec": {"replicas": 10}, "status": {"observedGeneration": 8, "replicas": 99, "conditions": []},
        })
    }

    #[test]
    fn the_template_shows_the_sum_of_its_members() {
        let status = aggregate_status(&template(), &[item("bj", 5, 4, 4, 9), item("sh", 3, 2, 2, 9)]).unwrap();
        assert_eq!(
            status,
            json!({
                "observedGeneration": 9, "replicas": 10, "readyReplicas": 8, "updatedReplicas": 8, "availableReplicas": 8,
                "unavailableReplicas": 2, "conditions": [],
            })
        );
    }

    #[test]
    fn the_generation_is_observed_only_when_every_member_has_it() {
        let observed =
            |items: &[StatusItem<'_>]| aggregate_status(&template(), items).unwrap()["observedGeneration"].clone();
        assert_eq!(observed(&[item("bj", 5, 4, 4, 9), item("sh", 3, 2, 2, 9)]), 9);
        assert_eq!(observed(&[item("bj", 5, 4, 4, 9), item("sh", 3, 2, 1, 9)]), 8, "sh has not observed its own spec");
        assert_eq!(observed(&[item("bj", 5, 4, 4, 9), item("sh", 3, 2, 2, 8)]), 8, "sh has the old template");
        assert_eq!(
            observed(&[item("bj", 5, 4, 4, 9), StatusItem { cluster: "sh", status: None }]),
            8,
            "sh has not answered"
        );
    }

    #[test]
    fn aggregating_again_changes_nothing() {
        let items = [item("bj", 5, 4, 4, 9), item("sh", 0, 2, 2, 9)];
        let once = aggregate_status(&template(), &items).unwrap();
        let twice = aggregate_status(&with(template(), "/status", once.clone()), &items).unwrap();
        assert_eq!(once, twice);
    }

    #[test]
    fn replicas_are_left_to_the_member_only_with_the_label() {
        let live = with(live_deployment(), "/spec/replicas", json!(7));
        let mut plain = deployment(json!({"replicas": 5}));
        retain(&mut plain, &live);
        assert_eq!(plain["spec"]["replicas"], 5);
        let mut labelled = plain;
        labelled["metadata"]["labels"] = json!({"resourcetemplate.karmada.io/retain-replicas": "true"});
        retain(&mut labelled, &live);
        assert_eq!(labelled["spec"]["replicas"], 7);
    }
}

mod requirements {
    use super::*;

    fn of_pod(pod: Value) -> Option<ReplicaRequirements> {
        replicas(&manifest(deployment(json!({"replicas": 1, "template": {"spec": pod}})))).unwrap().requirements
    }

    fn requests(pod: Value) -> Value {
        serde_json::to_value(of_pod(pod).unwrap().resource_request).unwrap()
    }

    #[test]
    fn containers_add_up() {
        assert_eq!(
            requests(json!({"containers": [
                {"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}},
                {"name": "b", "resources": {"requests": {"cpu": "1"}}},
            ]})),
            json!({"cpu": "1100m", "memory": "64Mi"})
        );
    }

    #[test]
    fn the_largest_init_container_sets_a_floor_and_overhead_comes_on_top() {
        assert_eq!(
            requests(json!({
                "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m"}}}],
                "initContainers": [
                    {"name": "i", "resources": {"requests": {"cpu": "500m"}}},
                    {"name": "j", "resources": {"requests": {"cpu": "200m"}}},
                ],
                "overhead": {"cpu": "50m"},
            })),
            json!({"cpu": "550m"})
        );
    }

    #[test]
    fn a_sidecar_runs_beside_all_that_comes_after_it() {
        let (set, _) = pair("stateful_set");
        let needs = replicas(&manifest(set)).unwrap().requirements.unwrap();
        assert_eq!(
            serde_json::to_value(&needs.resource_request).unwrap(),
            json!({"cpu": "1100m", "memory": "1Gi"}),
            "the migration needs 1 beside the proxy's 100m, more than 500m of the database beside it"
        );
        assert_eq!(needs.node_claim.unwrap().tolerations.len(), 1);
        let init = |name: &str, cpu: &str, policy: Value| json!({"name": name, "restartPolicy": policy, "resources": {"requests": {"cpu": cpu}}});
        assert_eq!(
            requests(json!({
                "containers": [{"name": "a", "resources": {"requests": {"cpu": "700m"}}}],
                "initContainers": [
                    init("before", "1", Value::Null), init("side", "200m", json!("Always")), init("after", "600m", Value::Null),
                    init("other-side", "300m", json!("Always")),
                ],
            })),
            json!({"cpu": "1200m"}),
            "all that runs in the end needs most"
        );
    }

    #[test]
    fn requests_of_the_whole_pod_replace_the_sum() {
        assert_eq!(
            requests(json!({
                "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}}],
                "resources": {"requests": {"cpu": "2"}}, "overhead": {"cpu": "50m"},
            })),
            json!({"cpu": "2050m", "memory": "1Gi"})
        );
    }

    #[test]
    fn a_limit_stands_in_for_a_missing_request() {
        assert_eq!(
            requests(
                json!({"containers": [{"name": "a", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}}]})
            ),
            json!({"cpu": "1", "memory": "1Gi"})
        );
    }

    #[test]
    fn a_pod_that_asks_for_nothing_has_no_requirements() {
        assert_eq!(of_pod(json!({"containers": [{"name": "a"}]})), None);
    }

    #[test]
    fn where_a_pod_may_run_is_carried_along() {
        let claim = of_pod(json!({
            "containers": [{"name": "a"}],
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
            ]}}},
        }))
        .unwrap()
        .node_claim
        .unwrap();
        assert_eq!(
            serde_json::to_value(claim).unwrap(),
            json!({
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "hardNodeAffinity": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
                ]},
            })
        );
    }
}

mod services {
    use super::*;

    fn service(kind: &str, ingress: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"type": kind},
            "status": {"loadBalancer": {"ingress": ingress}, "conditions": []},
        })
    }

    #[test]
    fn only_load_balancers_report() {
        assert_eq!(
            reflect_status(&service("LoadBalancer", json!([{"ip": "1.2.3.4"}]))).unwrap(),
            json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}})
        );
        assert_eq!(reflect_status(&service("ClusterIP", json!([]))), None);
    }

    #[test]
    fn a_load_balancer_is_healthy_with_its_first_address() {
        assert_eq!(health(&service("ClusterIP", json!([]))), ResourceHealth::Healthy);
        assert_eq!(health(&service("LoadBalancer", json!([]))), ResourceHealth::Unhealthy);
        assert_eq!(health(&service("LoadBalancer", json!([{"ip": ""}]))), ResourceHealth::Unhealthy);
        assert_eq!(health(&service("LoadBalancer", json!([{"hostname": "a.example"}]))), ResourceHealth::Healthy);
    }

    #[test]
    fn the_template_lists_every_address_once_and_says_whose_it_is() {
        let status = |ingress: Value| Some(json!({"loadBalancer": {"ingress": ingress}}));
        let items = [
            StatusItem { cluster: "bj", status: status(json!([{"ip": "1.1.1.1"}, {"hostname": "shared.example"}])) },
            StatusItem { cluster: "sh", status: status(json!([{"hostname": "shared.example"}])) },
            StatusItem { cluster: "sz", status: None },
        ];
        assert_eq!(
            aggregate_status(&service("LoadBalancer", json!([])), &items).unwrap(),
            json!({
                "loadBalancer": {"ingress": [{"ip": "1.1.1.1", "hostname": "bj"}, {"hostname": "shared.example"}]},
                "conditions": [],
            })
        );
        assert_eq!(aggregate_status(&service("ClusterIP", json!([])), &items), None);
    }

    #[test]
    fn addresses_given_out_by_the_member_are_kept() {
        let mut desired = json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": "LoadBalancer"}});
        retain(
            &mut desired,
            &json!({"spec": {"clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"], "healthCheckNodePort": 31000}}),
        );
        assert_eq!(
            desired["spec"],
            json!({
                "type": "LoadBalancer", "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"], "healthCheckNodePort": 31000,
            })
        );
    }

    #[test]
    fn a_headless_service_stays_headless() {
        let mut desired = json!({"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "None"}});
        retain(&mut desired, &json!({"spec": {"clusterIP": "10.0.0.9", "healthCheckNodePort": 0}}));
        assert_eq!(desired["spec"], json!({"clusterIP": "None"}));
    }
}

mod others {
    use super::*;

    #[test]
    fn a_config_map_is_healthy_once_it_exists_and_has_no_status() {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}});
        assert_eq!(health(&map), ResourceHealth::Healthy);
        assert_eq!(reflect_status(&map), None);
        assert_eq!(aggregate_status(&map, &[]), None);
        assert_eq!(replicas(&manifest(map)), None);
    }

    #[test]
    fn what_is_null_in_a_status_is_not_reported() {
        let live = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "prod"},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null}],
                "containerStatuses": [{"name": "c", "lastState": {"terminated": {"exitCode": 1, "startedAt": null}}}],
            },
        });
        let reported = reflect_status(&live).unwrap();
        assert!(!reported.to_string().contains("null"), "{reported}");
        assert_eq!(reported["containerStatuses"][0]["lastState"]["terminated"], json!({"exitCode": 1}));
    }

    #[test]
    fn an_unknown_kind_reports_its_whole_status_and_cannot_be_scaled() {
        let live = json!({"apiVersion": "x.example/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"replicas": 3}, "status": {"phase": "Up"}});
        assert_eq!(reflect_status(&live), Some(json!({"phase": "Up"})));
        assert_eq!(health(&live), ResourceHealth::Healthy);
        let mut thing = manifest(live);
        assert!(!revise_replicas(&mut thing, 1));
        assert_eq!(thing.value()["spec"]["replicas"], 3);
    }

    #[test]
    fn a_deployment_of_another_group_is_not_ours_to_interpret() {
        let live = json!({"apiVersion": "x.example/v1", "kind": "Deployment", "metadata": {"name": "t"}, "spec": {"replicas": 3}});
        assert_eq!(replicas(&manifest(live)), None);
    }

    #[test]
    fn a_namespace_reports_its_phase() {
        let live = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod"}, "status": {"phase": "Active"}});
        assert_eq!(reflect_status(&live), Some(json!({"phase": "Active"})));
    }

    #[test]
    fn a_service_account_token_is_the_members() {
        let mut desired = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": {"name": "t"}});
        retain(
            &mut desired,
            &json!({
                "data": {"token": "eA=="}, "metadata": {"annotations": {"kubernetes.io/service-account.uid": "m-1"}},
            }),
        );
        assert_eq!(desired["data"], json!({"token": "eA=="}));
        assert_eq!(desired["metadata"]["annotations"]["kubernetes.io/service-account.uid"], "m-1");
        let mut opaque = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"a": "Yg=="}});
        retain(&mut opaque, &json!({"data": {"token": "eA=="}}));
        assert_eq!(opaque["data"], json!({"a": "Yg=="}));
    }
}

mod relatives_of_deployments {
    use super::*;

    fn stateful_set(partition: i64, updated: i64, available: i64) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "generation": 2},
            "spec": {"replicas": 5, "updateStrategy": {"rollingUpdate": {"partition": partition}}},
            "status": {"observedGeneration": 2, "replicas": 5, "updatedReplicas": updated, "availableReplicas": available},
        })
    }

    #[test]
    fn stateful_sets_and_replica_sets_are_divided_too() {
        for kind in ["StatefulSet", "ReplicaSet"] {
            let mut object = manifest(
                json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": {"replicas": 4}}),
            );
            assert_eq!(replicas(&object).unwrap().count, 4, "{kind}");
            assert!(revise_replicas(&mut object, 2));
            assert_eq!(object.value()["spec"]["replicas"], 2);
        }
    }

    #[test]
    fn a_partitioned_rollout_is_healthy_when_the_upper_pods_are_updated_and_all_are_up() {
        let rows = [
            (0, 5, 5, ResourceHealth::Healthy),
            (0, 4, 5, ResourceHealth::Unhealthy),
            (3, 2, 5, ResourceHealth::Healthy),
            (3, 1, 5, ResourceHealth::Unhealthy),
            (3, 2, 4, ResourceHealth::Unhealthy),
        ];
        for (partition, updated, available, expected) in rows {
            let live = stateful_set(partition, updated, available);
            assert_eq!(health(&live), expected, "partition {partition}, {updated} updated, {available} available");
        }
    }

    #[test]
    fn a_replica_set_is_healthy_when_enough_pods_are_available() {
        let set = |available: i64| {
            json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r", "generation": 1},
                "spec": {"replicas": 2}, "status": {"observedGeneration": 1, "replicas": 2, "availableReplicas": available},
            })
        };
        assert_eq!(health(&set(2)), ResourceHealth::Healthy);
        assert_eq!(health(&set(1)), ResourceHealth::Unhealthy);
    }

    #[test]
    fn each_kind_reports_its_own_counters() {
        let reflected = reflect_status(&stateful_set(0, 5, 5)).unwrap();
        assert_eq!(
            reflected,
            json!({
                "generation": 2, "observedGeneration": 2, "replicas": 5, "updatedReplicas": 5, "availableReplicas": 5,
            })
        );
    }
}

mod what_members_choose {
    use super::*;

    #[test]
    fn a_claims_volume_and_default_class_stay() {
        let live = json!({"spec": {"volumeName": "pv-7", "storageClassName": "fast"}});
        let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {}});
        retain(&mut claim, &live);
        assert_eq!(claim["spec"], live["spec"]);
        let mut picky =
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"storageClassName": "slow"}});
        retain(&mut picky, &live);
        assert_eq!(picky["spec"], json!({"volumeName": "pv-7", "storageClassName": "slow"}));
    }

    #[test]
    fn a_claim_is_healthy_when_it_is_bound() {
        let claim =
            |phase: &str| json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": phase}});
        assert_eq!(health(&claim("Bound")), ResourceHealth::Healthy);
        assert_eq!(health(&claim("Pending")), ResourceHealth::Unhealthy);
    }

    #[test]
    fn an_ingress_keeps_its_default_class_and_waits_for_an_address() {
        let mut ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {}});
        retain(&mut ingress, &json!({"spec": {"ingressClassName": "nginx"}}));
        assert_eq!(ingress["spec"]["ingressClassName"], "nginx");
        assert_eq!(health(&ingress), ResourceHealth::Unhealthy);
        ingress["status"] = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}});
        assert_eq!(health(&ingress), ResourceHealth::Healthy);
        let items = [StatusItem { cluster: "bj", status: reflect_status(&ingress) }];
        assert_eq!(
            aggregate_status(&json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}), &items).unwrap(),
            json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "hostname": "bj"}]}})
        );
    }
}
